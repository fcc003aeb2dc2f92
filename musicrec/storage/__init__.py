"""Where bytes lie and who may write them: one root in a folder or on S3, conditional writes, the lock of a stage."""
