"""Estimate the time, storage and memory of a retrain before it runs."""
