"""musicrec: turn a music catalog into a content-based recommender, as cluster jobs."""

__version__ = "0.1.0"
