"""From URIs to committed parts: manifest, workers, isolation of bad rows, Ray Data pipeline."""
