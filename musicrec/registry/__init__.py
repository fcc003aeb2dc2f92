"""Keep training runs and the served model in MLflow; everything that imports MLflow."""
