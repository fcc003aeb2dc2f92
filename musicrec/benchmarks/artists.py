"""Compare the thesis' artist embeddings with contrastive ones at full size.

Both objectives train for the same time on a planted graph, of which a fraction of the relations is
held out. The thesis' objective goes through its own phases, but each phase ends when the Jaccard
index on a sample no longer rises (not when the loss no longer falls), and its best table is scored:
an advantage over its own rule. ``attainable`` is the score of the planted latent vectors. Then the
ten nearest neighbours of many artists are searched in the contrastive table. Each row of the output
is measured in its own process, so that its memory is not another's.
"""

from __future__ import annotations

import argparse
import multiprocessing
import pickle
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ARTISTS, RELATED, DIMENSIONS = 109_883, 20, 800
LATENT_DIMENSIONS, ARTISTS_OF_CLUSTER, POPULARITY = 32, 100, 0.005
HELD_OUT, HUB_NEIGHBOURS, SEARCHED, CHECKED = 0.02, 10, 10, 200
JACCARD_TARGET, MEMORY_TARGET, SEARCH_MEMORY_TARGET = 0.75, 4.0, 2.0


def run(arguments: list[str]) -> int:
    """Run the benchmark and print its table; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="benchmark.py artists", description=__doc__)
    parser.add_argument(
        "--artists", type=int, default=ARTISTS, help="artists in the graph (default %(default)s)"
    )
    parser.add_argument(
        "--dimensions", type=int, default=DIMENSIONS, help="embedding size (default %(default)s)"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=20.0,
        help="CPU time per thread for each objective (default %(default)s)",
    )
    parser.add_argument(
        "--passes",
        type=int,
        default=8,
        help="maximum passes of the contrastive objective (default %(default)s)",
    )
    parser.add_argument(
        "--sample",
        type=int,
        default=10_000,
        help="artists to compute the metrics on (default %(default)s)",
    )
    parser.add_argument(
        "--queries", type=int, default=100_000, help="neighbour searches (default %(default)s)"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        _in_own_process(plant, folder, options)
        latent = _in_own_process(measure_latent, folder, options)
        contrastive, thesis = (
            _in_own_process(measure_objective, folder, options, objective)
            for objective in ("contrastive", "thesis")
        )
        print(
            f"\n{options.artists:,} artists x {RELATED} relations, "
            f"{options.dimensions} dimensions; over {options.sample:,} artists:"
        )
        print("".join(f"{name:>12}" for name in thesis))
        for row in (latent, thesis, contrastive):
            print("".join(f"{_format_cell(row.get(name)):>12}" for name in thesis))
        search = _in_own_process(measure_search, folder, options)
    print(
        f"\nten nearest neighbours of {search['queries']:,} artists, exact: "
        f"{search['seconds']:.0f} s, {search['rate']:.0f} queries/s"
    )
    print(
        f"equal to brute force in float64: {search['equal']} of {CHECKED} sampled, "
        f"largest difference of a similarity {search['error']:.1e}"
    )
    print(
        f"peak memory {search['GB']:.2f} GB, {search['added_GB']:.2f} GB on top of the table   "
        f"target < {SEARCH_MEMORY_TARGET:g}"
    )
    print(
        f"contrastive: Jaccard {contrastive['Jaccard']:.3f}, target >= {JACCARD_TARGET:g}; "
        f"memory target < {MEMORY_TARGET:g} GB"
    )
    missed = (
        contrastive["Jaccard"] < min(JACCARD_TARGET, latent["Jaccard"])
        or contrastive["Jaccard"] <= thesis["Jaccard"]
    )
    too_large = (
        max(thesis["GB"], contrastive["GB"]) >= MEMORY_TARGET
        or search["GB"] >= SEARCH_MEMORY_TARGET
    )
    return int(missed or too_large)


def _in_own_process(work: Any, *arguments: Any) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def _format_cell(value: Any) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def plant(folder: str, options: argparse.Namespace) -> None:
    """Write the training graph, the held-out relations and the latent vectors."""
    from musicrec.artists.graph import build_graph
    from musicrec.artists.quality import hold_out
    from musicrec.benchmarks.planted import planted_graph

    started = time.perf_counter()
    planted = planted_graph(
        options.artists,
        RELATED,
        dimensions=LATENT_DIMENSIONS,
        clusters=max(1, options.artists // ARTISTS_OF_CLUSTER),
        popularity=POPULARITY,
        seed=options.seed,
    )
    whole = build_graph(
        planted.artist_id, planted.related_artist_id, planted.rank, planted.artist_ids
    )
    graph, held = hold_out(whole, HELD_OUT, np.random.default_rng(options.seed))
    Path(folder, "graph.pickle").write_bytes(
        pickle.dumps((graph, whole.heads[held], whole.tails[held]))
    )
    np.save(Path(folder, "latent.npy"), planted.latent)
    print(
        f"planted in {time.perf_counter() - started:.0f} s: {len(graph.heads):,} relations, "
        f"{len(held):,} more held out",
        flush=True,
    )


def _planted(folder: str) -> tuple[Any, np.ndarray, np.ndarray]:
    return pickle.loads(Path(folder, "graph.pickle").read_bytes())


def measure_latent(folder: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure the planted latent vectors; print the chance level."""
    from musicrec.artists.quality import chance_jaccard

    print(f"chance Jaccard {chance_jaccard(_planted(folder)[0]):.5f}", flush=True)
    return {"objective": "attainable"} | _metrics(
        folder, np.load(Path(folder, "latent.npy")), options
    )


def measure_objective(folder: str, options: argparse.Namespace, objective: str) -> dict[str, Any]:
    """Train for ``options.minutes``, keep the best table and measure it."""
    import torch

    from musicrec.artists.embedding import PassProgress, train_embeddings
    from musicrec.artists.settings import THESIS_STAGES, EmbeddingSettings, Stage
    from musicrec.training.memory import peak_mebibytes

    common = {
        "dimensions": options.dimensions,
        "lazy": True,
        "select_by": "jaccard",
        "jaccard_artists": 2000,
        "seed": options.seed,
    }
    if objective == "thesis":
        settings = EmbeddingSettings(stages=THESIS_STAGES, **common)
    else:
        stage = Stage(
            learning_rate=1e-2, artists_per_step=1024, patience=3, maximum_passes=options.passes
        )
        settings = EmbeddingSettings(
            objective="contrastive",
            stages=(stage,),
            initial="spread",
            steps="near",
            decay="linear",
            **common,
        )
    started = time.perf_counter()

    def minutes() -> float:
        """Return CPU time per thread on a CPU (busy neighbours do not count), else wall time."""
        if options.device != "cpu":
            return (time.perf_counter() - started) / 60
        return time.process_time() / torch.get_num_threads() / 60

    def on_pass(progress: PassProgress) -> bool:
        print(
            f"{objective}, pass {progress.passes}, stage {progress.stage}: {minutes():.2f} min, "
            f"wall {(time.perf_counter() - started) / 60:.2f}, loss {progress.loss:.4f}, "
            f"Jaccard {progress.jaccard:.4f}",
            flush=True,
        )
        return minutes() >= options.minutes

    result = train_embeddings(_planted(folder)[0], settings, on_pass=on_pass, device=options.device)
    spent, gigabytes = minutes(), peak_mebibytes() / 1024
    np.save(Path(folder, f"{objective}.npy"), result.vectors)
    row = {
        "objective": objective,
        "minutes": round(spent, 1),
        "passes": len(result.loss),
        "best pass": result.best_pass + 1,
    }
    return row | _metrics(folder, result.vectors, options) | {"GB": round(gigabytes, 2)}


def _metrics(folder: str, vectors: np.ndarray, options: argparse.Namespace) -> dict[str, float]:
    import torch

    from musicrec.artists.neighbours import nearest_neighbours
    from musicrec.artists.quality import held_out_recall, related_jaccard
    from musicrec.evaluation.metrics import hubness

    graph, heads, tails = _planted(folder)
    table = torch.from_numpy(vectors).to(options.device)
    sample = np.sort(
        np.random.default_rng(options.seed).choice(
            len(graph), min(options.sample, len(graph)), replace=False
        )
    )
    seen = np.isin(heads, sample)
    neighbours, _ = nearest_neighbours(
        table[torch.from_numpy(sample)], table, HUB_NEIGHBOURS, exclude=sample
    )
    return {
        "Jaccard": related_jaccard(graph, table, sample),
        f"held out@{RELATED}": held_out_recall(graph, table, heads[seen], tails[seen], RELATED),
        "hubness": hubness(neighbours, len(graph)),
    }


def measure_search(folder: str, options: argparse.Namespace) -> dict[str, float]:
    """Measure rate and memory of an exact search; compare a sample with brute force."""
    import torch

    from musicrec.artists.neighbours import nearest_neighbours
    from musicrec.training.memory import peak_mebibytes

    vectors = np.load(Path(folder, "contrastive.npy"))
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
