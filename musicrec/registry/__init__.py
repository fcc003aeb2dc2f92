"""The MLflow model: what it takes, what it answers, and which version serves."""
