"""Look into a store: what is complete, what failed."""
