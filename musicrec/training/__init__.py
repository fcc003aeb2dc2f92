"""From tables to trained models: inputs, objectives, the loop, and Ray Train around it."""
