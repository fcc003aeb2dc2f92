"""A folder of tagged audio files as a catalog."""
