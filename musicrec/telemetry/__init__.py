"""What leaves the process, without credentials: progress events, metrics, redaction. Imports nothing else of this package."""
