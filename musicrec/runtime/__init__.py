"""The process of a job: exit codes, the allocator, and the Ray cluster that it runs on."""
