"""Benchmarks that print the figures of the README; `jobs/benchmark.py` runs them."""
