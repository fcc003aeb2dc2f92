"""Benchmarks that measure the numbers in README.md here; `jobs/benchmark.py` runs them."""
