"""Inspect a store: complete stages and failures."""
