"""What a run achieved: metrics, baselines to stand beside them, retrieval of related artists, pictures."""
