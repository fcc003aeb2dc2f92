"""The store: one root in a folder or on S3, conditional writes, and the lock of a stage."""
