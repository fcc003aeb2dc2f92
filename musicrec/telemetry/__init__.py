"""Logs, progress and metrics without credentials. Imports nothing else of this package."""
