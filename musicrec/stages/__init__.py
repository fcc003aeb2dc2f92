"""The stages of a run. Each reads the tables that its key was made from, writes its own, and is skipped where its output is complete."""
