"""Read, check and split a catalog: three tables and the files that they name."""
