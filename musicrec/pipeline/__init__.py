"""The stages of a retrain, each from its input tables to its output table, and what joins them."""
