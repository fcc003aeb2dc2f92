"""Measure batch recommendation for a million tracks: rate per CPU, and driver memory.

The recommender reads only year and location (random weights, embeddings as wide as the thesis'), so
that the benchmark measures the queries' path through Ray and the artist search; audio has its own
benchmarks. All queries are planned, and answered until ``--done`` rows are done. The rate is
compared with queries answered one by one. The driver's memory is its resident set.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time

import numpy as np
import pyarrow as pa

from musicrec import schema
from musicrec.benchmarks.features import THREAD_VARIABLES
from musicrec.benchmarks.manifest import memory
from musicrec.config.jobs import RecommendConfig
from musicrec.config.sections import RaySettings
from musicrec.extraction.pipeline import Actors, committed, outstanding
from musicrec.runtime.cluster import connect
from musicrec.serving.query_table import (
    ANSWERS,
    QUERIES,
    AnswerBlocks,
    Answerer,
    as_query,
    write_queries,
)
from musicrec.serving.recommender import ARTISTS, ENSEMBLE, Recommender
from musicrec.specs.ensemble import EnsembleSpec
from musicrec.storage.store import Store

ROWS, CANDIDATES, DIMENSIONS, ONE_BY_ONE = 1_000_000, 100_000, 800, 200
RATIO = 2.0
# Bytes of driver memory per row: 100 MB at the end of a million rows.
GROWTH = 100.0


def run(arguments: list[str]) -> int:
    """Run the benchmark and print it; return 1 if rate or memory growth misses its target."""
    parser = argparse.ArgumentParser(prog="benchmark.py recommend", description=__doc__)
    parser.add_argument(
        "--rows", type=int, default=ROWS, help="planned queries (default %(default)s)"
    )
    parser.add_argument(
        "--artists", type=int, default=CANDIDATES, help="candidate artists (default %(default)s)"
    )
    parser.add_argument(
        "--done",
        type=int,
        default=30_000,
        help="rows to answer before stopping (default %(default)s)",
    )
    parser.add_argument(
        "--cpus", type=int, default=os.cpu_count(), help="CPUs for Ray (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"
    rng = np.random.default_rng([options.seed, options.rows])
    recommender, queries = made_recommender(options.artists, rng), made_queries(options.rows, rng)
    with tempfile.TemporaryDirectory() as folder:
        return _measure(recommender, queries, Store(folder), options.done, options.cpus)


def made_recommender(artists: int, rng: np.random.Generator) -> Recommender:
    """Return a recommender with random weights and artists; every query has all its inputs."""
    ranges = {"year": (1900.0, 2020.0), "latitude": (-90.0, 90.0), "longitude": (-180.0, 180.0)}
    ensemble = EnsembleSpec(DIMENSIONS, ("location", "year"), {}, ranges)
    vectors = pa.FixedSizeListArray.from_arrays(
        rng.standard_normal(artists * DIMENSIONS, dtype=np.float32), DIMENSIONS
    )
    ids = np.char.add("artist-", np.arange(artists).astype(str))
    table = schema.conform(
        pa.table({"artist_id": ids, "vector": vectors.cast(pa.list_(pa.float32()))}),
        ARTISTS,
        "artists",
    )
    return Recommender(ensemble, {}, {ENSEMBLE: ensemble.build()}, table, "librosa")


def made_queries(rows: int, rng: np.random.Generator) -> pa.Table:
    """Return tracks with random years and locations."""
    ids = np.char.add("track-", np.arange(rows).astype(str))
    numbers = {"year": (1900, 2020), "latitude": (-90, 90), "longitude": (-180, 180)}
    columns = {"item": ids, "uri": ids} | {
        name: rng.uniform(*limits, rows) for name, limits in numbers.items()
    }
    return schema.conform(pa.table(columns), QUERIES, "queries")


def _measure(recommender: Recommender, queries: pa.Table, out: Store, done: int, cpus: int) -> int:
    rows_per_block, neighbours = RecommendConfig().rows_per_block, RecommendConfig().neighbours
    single_queries = [as_query(row) for row in queries.slice(0, ONE_BY_ONE).to_pylist()]
    recommender.recommend(single_queries[0], neighbours)
    started = time.perf_counter()
    for query in single_queries:
        recommender.recommend(query, neighbours)
    single_rate = len(single_queries) / (time.perf_counter() - started)

    connect(RaySettings(num_cpus=cpus))
    started = time.perf_counter()
    write_queries(out, queries, rows_per_block)
    blocks = AnswerBlocks(out, "blocks")
    work = outstanding(
        blocks, blocks.extend(queries.select(["item", "uri"]), [ANSWERS], rows_per_block)
    )
    planned = time.perf_counter() - started
    rows, first, third = 0, (0, 0.0), (0, 0)
    for summary in committed(
        blocks,
        work,
        Answerer(recommender, out, neighbours=neighbours),
        "recommend",
        Actors(cpus, 1, 0),
    ):
        rows += summary["rows"]
        if first == (0, 0.0):
            first = (rows, time.perf_counter())
            start = first[1] - started - planned
        if third == (0, 0) and rows >= done / 3:
            third = (rows, memory()[0])
        if rows >= done:
            break
    rate = (rows - first[0]) / (time.perf_counter() - first[1])
    growth, ratio = (memory()[0] - third[1]) / (rows - third[0]), rate / cpus / single_rate
    print(
        f"{queries.num_rows} queries written and planned  {planned:8.1f} s, "
        f"first block {start:.1f} s later"
    )
    print(f"queries per second on {cpus} CPUs           {rate:8.0f}")
    print(f"queries per second, one by one        {single_rate:8.1f}")
    print(f"rate per CPU / rate one by one        {ratio:8.2f}    target >= {RATIO:g}")
    print(
        f"driver, growth per row done           {growth:8.0f} B  target <= {GROWTH:g}; "
        f"now {memory()[0] / 1e6:.0f} MB"
    )
    return int(ratio < RATIO or growth > GROWTH)
