"""Search the nearest artists exactly: rate, memory, and equality with brute force."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

SEARCHED, CHECKED = 10, 200


def measure_search(folder: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure rate and memory of an exact search; compare a sample with brute force."""
    import torch

    from musicrec.artists.neighbours import nearest_neighbours
    from musicrec.training.memory import peak_mebibytes

    vectors = np.load(Path(folder, "pagerank.npy"))
    before, queries = peak_mebibytes(), min(options.queries, len(vectors))
    table = torch.from_numpy(vectors).to(options.device)
    started = time.perf_counter()
    indices, similarities = nearest_neighbours(
        table[:queries], table, SEARCHED, exclude=np.arange(queries)
    )
    seconds, peak = time.perf_counter() - started, peak_mebibytes()
    rows = np.random.default_rng(options.seed).choice(queries, min(CHECKED, queries), replace=False)
    whole = vectors.astype(np.float64)
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    exact = whole[rows] @ whole.T
    exact[np.arange(len(rows)), rows] = -np.inf
    expected = np.argsort(-exact, axis=1, kind="stable")[:, :SEARCHED]
    return {
        "queries": queries,
        "seconds": seconds,
        "rate": queries / seconds,
        "equal": int(np.sum((indices[rows] == expected).all(axis=1))),
        "error": float(
            np.abs(similarities[rows] - np.take_along_axis(exact, expected, axis=1)).max()
        ),
        "GB": peak / 1024,
        "added_GB": (peak - before) / 1024,
    }
