"""Relate plays that were drawn from a planted graph: time, memory, and how much of it comes back.

Users have a favourite artist each. Some of their plays are of that artist or of one of its planted
relations, the others are drawn by popularity, which follows Zipf's law.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from musicrec.benchmarks.planted import PlantedGraph, planted_graph
from musicrec.config.sections import LockSettings, RaySettings, RelationsSettings
from musicrec.storage.store import Store

CHUNK = 1_000_000
PLAYS_PER_USER = 100
NEIGHBOURS = 20
FAVOURITE = 0.6  # of the plays
TARGET_MINUTES = 10.0


def run(arguments: list[str]) -> int:
    """Run the benchmark and print it; return 1 if it takes longer than its target."""
    parser = argparse.ArgumentParser(prog="benchmark.py relate", description=__doc__)
    parser.add_argument("--plays", type=int, default=10_000_000, help="default %(default)s")
    parser.add_argument("--artists", type=int, default=20_000, help="default %(default)s")
    parser.add_argument("--cpus", type=int, default=os.cpu_count(), help="default %(default)s")
    options = parser.parse_args(arguments)
    from musicrec.relations.relate import relate

    graph = planted_graph(options.artists, clusters=max(12, options.artists // 100), related=12)
    with tempfile.TemporaryDirectory() as folder:
        write_plays(graph, options.plays, Path(folder, "plays.csv"))
        size = Path(folder, "plays.csv").stat().st_size
        with _Memory() as memory:
            started = time.perf_counter()
            done = relate(
                f"{folder}/plays.csv",
                "table",
                RelationsSettings(neighbours=NEIGHBOURS),
                Store(f"{folder}/store"),
                RaySettings(num_cpus=options.cpus),
                LockSettings(),
            )
            minutes = (time.perf_counter() - started) / 60
        record, related = done.record, done.tables()
    shares = recovered(graph, related)
    print(
        f"{options.plays:,} plays ({size / 1e6:,.0f} MB), {options.artists:,} artists, "
        f"{record['groups']:,} users, {record['pairs']:,} pairs, {options.cpus} CPUs"
    )
    print(f"minutes                           {minutes:8.2f}   target <= {TARGET_MINUTES:g}")
    print(f"peak memory of the driver         {memory.driver / 2**20:8.0f} MiB")
    print(f"peak memory of a worker           {memory.worker / 2**20:8.0f} MiB")
    for name, value in shares.items():
        print(f"planted relations in the first {NEIGHBOURS}, {name:<12} {value:8.3f}")
    return int(minutes > TARGET_MINUTES)


def draw_plays(
    graph: PlantedGraph, users: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Return the artist's index of a play of each of ``users`` (numbers)."""
    artists = len(graph.artist_ids)
    index = {name: place for place, name in enumerate(graph.artist_ids)}
    heads = np.array([index[name] for name in graph.artist_id])
    tails = np.array([index[name] for name in graph.related_artist_id])
    starts = np.searchsorted(heads, np.arange(artists + 1))
    # A user's favourite is a fixed function of its number (Knuth's multiplicative hash).
    favourite = (users * 2_654_435_761) % 2**32 % artists
    place = generator.integers(0, np.diff(starts)[favourite] + 1)
    near = np.where(place == 0, favourite, tails[starts[favourite] + place - 1])
    popular = (np.exp(generator.random(len(users)) * np.log(artists)) - 1).astype(np.int64)
    # Which artists are popular has nothing to do with the graph.
    shuffled = np.random.default_rng(1).permutation(artists)[popular % artists]
    return np.where(generator.random(len(users)) < FAVOURITE, near, shuffled)


def write_plays(graph: PlantedGraph, plays: int, file: Path, seed: int = 0) -> None:
    """Write a log of ``user`` and ``item`` as CSV, in no order of users."""
    generator = np.random.default_rng(seed)
    names = pa.array(graph.artist_ids)
    contract = pa.schema([("user", pa.string()), ("item", pa.string())])
    with pyarrow.csv.CSVWriter(str(file), contract) as writer:
        for start in range(0, plays, CHUNK):
            count = min(CHUNK, plays - start)
            users = generator.integers(0, max(1, plays // PLAYS_PER_USER), count)
            items = names.take(pa.array(draw_plays(graph, users, generator)))
            writer.write_table(
                pa.table([pa.array(users).cast(pa.string()), items], schema=contract)
            )


def recovered(graph: PlantedGraph, related: pa.Table) -> dict[str, float]:
    """Return the fraction of planted relations among the first ``NEIGHBOURS``.

    It is shown for the relations, for the artists that most lists have (popularity), and for
    artists drawn at random (chance).
    """
    planted = set(zip(graph.artist_id, graph.related_artist_id, strict=True))
    pairs = zip(
        related["artist_id"].to_pylist(), related["related_artist_id"].to_pylist(), strict=True
    )
    found = sum(pair in planted for pair in pairs)
    named = related["related_artist_id"].value_counts().to_pylist()
    named.sort(key=lambda each: (-each["counts"], each["values"]))
    popular = {each["values"] for each in named[:NEIGHBOURS]}
    return {
        "related": found / len(planted),
        "popularity": sum(tail in popular for _, tail in planted) / len(planted),
        "chance": min(1.0, NEIGHBOURS / (len(graph.artist_ids) - 1)),
    }


class _Memory:
    """Sample the unshared memory (USS) of this process and of its descendants."""

    driver, worker = 0, 0

    def __enter__(self) -> _Memory:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        import psutil

        this = psutil.Process()
        while not self._ended.wait(0.5):
            self.driver = max(self.driver, this.memory_full_info().uss)
            for child in this.children(recursive=True):
                try:
                    if "ray::" in " ".join(child.cmdline()[:1]):
                        self.worker = max(self.worker, child.memory_full_info().uss)
                except psutil.Error:
                    continue
