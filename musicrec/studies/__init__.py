"""Studies over many runs: ablation, held-out relations, reproduction of the thesis, search."""
