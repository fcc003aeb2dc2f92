"""A job's process and its Ray: exit codes, the allocator, the cluster that a job runs on."""
