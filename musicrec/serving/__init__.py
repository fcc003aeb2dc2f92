"""Embed and recommend: the recommender, tables of queries, batches through Ray."""
