"""Networks trained elsewhere, whose outputs are inputs of ours (README.md is their model card)."""
