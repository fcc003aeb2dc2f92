"""Evaluate a run: metrics, baselines, retrieval of related artists, plots."""
