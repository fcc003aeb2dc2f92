"""From URIs to committed parts: the manifest of blocks, readers, workers, isolation of bad rows, the Ray Data pipeline."""
