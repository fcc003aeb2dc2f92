"""Measure how a catalog of a million tracks starts: seconds to the first block, driver memory.

The manifest is real Parquet, generated from a seed in its own process. Its rows point to a few
rendered clips, each hard-linked under as many names as it has rows. The run is opened as in every
job (read, validated, split by artist, kept in the store), gets the size and modification time of
every file, is planned, and is extracted on a Ray started here until ``--done`` rows are done. The
driver's memory is its resident set, including pages shared with Ray's object store. Its memory at
the end of all rows is extrapolated from the growth over the second half of the rows that were done.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from musicrec.benchmarks.features import THREAD_VARIABLES, render_clips
from musicrec.config.jobs import Config
from musicrec.config.sections import ExtractSettings, RaySettings
from musicrec.extraction.pipeline import committed, outstanding
from musicrec.features.columns import compile_kernels, stored_columns
from musicrec.pipeline.catalog import open_run
from musicrec.pipeline.extract import audio_blocks, audio_items
from musicrec.runtime.cluster import connect, on_each_node

ROWS, ARTISTS, RELATED, CLIPS = 1_000_000, 50_000, 10, 4
FOLDER_ROWS = 1000  # files per folder, as in FMA
LINKS = 50_000  # hard links per file; some file systems allow 65,000
GENRES = 40
SECONDS, GIGABYTES = 60.0, 1.5


def run(arguments: list[str]) -> int:
    """Run the benchmark and print it; return 1 if start-up or driver memory exceeds its target."""
    parser = argparse.ArgumentParser(prog="benchmark.py manifest", description=__doc__)
    parser.add_argument(
        "--rows", type=int, default=ROWS, help="tracks in the manifest (default %(default)s)"
    )
    parser.add_argument(
        "--done",
        type=int,
        default=6000,
        help="rows to extract before stopping (default %(default)s)",
    )
    parser.add_argument(
        "--feature", default="mfcc", help="feature to extract (default %(default)s)"
    )
    parser.add_argument(
        "--cpus", type=int, default=os.cpu_count(), help="CPUs for Ray (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"
    with tempfile.TemporaryDirectory() as folder:
        # In its own process, so that generating the manifest does not count as driver memory.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pool.apply(write_manifest, (f"{folder}/catalog", options.rows, options.seed))
        config = Config(
            store=f"{folder}/store",
            catalog=f"{folder}/catalog",
            seed=options.seed,
            ray=RaySettings(num_cpus=options.cpus),
            extract=ExtractSettings(features=(options.feature,)),
        )
        return _measure(config, options.done)


def write_manifest(root: str, rows: int, seed: int) -> None:
    """Write the three tables of a catalog with ``rows`` tracks, and the audio files.

    A few artists have many tracks. The rendered clips are assigned to tracks in turn.
    """
    rng = np.random.default_rng([seed, rows])
    folder = Path(root)
    (folder / "clips").mkdir(parents=True)
    clips = render_clips(folder / "clips", CLIPS)
    names = [f"audio/{row // FOLDER_ROWS:04d}/{row:08d}.mp3" for row in range(rows)]
    for row, name in enumerate(names):
        if row % FOLDER_ROWS == 0:
            (folder / name).parent.mkdir(parents=True)
        if row % (CLIPS * LINKS) < CLIPS:
            shutil.copy(clips[row % CLIPS], folder / name)
        else:
            os.link(
                folder / names[row // (CLIPS * LINKS) * CLIPS * LINKS + row % CLIPS], folder / name
            )
    count = min(ARTISTS, rows)
    artists = np.char.add("artist-", np.char.zfill(np.arange(count).astype(str), 6))
    # One track for each artist; the rest by a power law that gives the first artists hundreds.
    fraction = 1 / (10 + np.arange(count))
    owner = rng.permutation(
        np.append(np.arange(count), rng.choice(count, rows - count, p=fraction / fraction.sum()))
    )
    genres = np.char.add("genre ", (owner * GENRES // count).astype(str))
    tracks = {
        "track_id": np.char.add("track-", np.char.zfill(np.arange(rows).astype(str), 8)),
        "title": np.char.add("A Song of Some Words, No. ", np.arange(rows).astype(str)),
        "artist_id": artists[owner],
        "artist": np.char.add("The Artist ", owner.astype(str)),
        "year": rng.integers(1950, 2020, rows).astype(np.int32),
        "audio": names,
        "genres": pa.array(genres[:, None].tolist(), pa.list_(pa.string())),
        "genre_top": genres,
    }
    related = {
        "artist_id": np.repeat(artists, RELATED),
        "related_artist_id": artists[
            (np.arange(count)[:, None] + np.arange(1, RELATED + 1)).ravel() % count
        ],
        "rank": np.tile(np.arange(1, RELATED + 1, dtype=np.int32), count),
    }
    for name, columns in {
        "tracks": tracks,
        "artists": {"artist_id": artists, "name": artists},
        "related": related,
    }.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet", compression="zstd")


def _measure(config: Config, done: int) -> int:
    marks = [("imports", 0.0, *memory())]
    begun = last = time.perf_counter()

    def mark(step: str) -> None:
        nonlocal last
        now = time.perf_counter()
        marks.append((step, now - last, *memory()))
        last = now

    opened = open_run(config)
    mark("catalog: read, validated, split, kept")
    blocks, reader = audio_blocks(opened)
    items = audio_items(opened)
    mark("files: size and modification time")
    plan = blocks.extend(
        items, stored_columns(config.extract.features), config.extract.rows_per_block
    )
    work = outstanding(blocks, plan)
    mark("plan")
    connect(config.ray)
    on_each_node(compile_kernels)
    mark("Ray and kernels")
    rows, half = 0, None
    for summary in committed(
        blocks, work, reader, "extract", seconds_per_file=config.extract.seconds_per_file
    ):
        if rows == 0:
            mark("until the first block")
            start = last - begun
        rows += summary["rows"]
        if half is None and rows >= done / 2:
            mark(f"{rows} rows done")
            half = (rows, marks[-1][2])
        if rows >= done:
            break
    mark(f"{rows} rows done")
    resident = marks[-1][2]
    growth = (resident - half[1]) / (rows - half[0])
    end = (resident + growth * (plan.num_rows - rows)) / 1e9
    for step, seconds, now, most in marks:
        print(
            f"{step:<38}{seconds:8.1f} s   driver {now / 1e6:6.0f} MB, "
            f"peak so far {most / 1e6:6.0f} MB"
        )
    peak = marks[-1][3] / 1e9
    print(f"until the first block, in total       {start:8.1f} s   target <= {SECONDS:g}")
    print(f"driver, peak                          {peak:8.2f} GB  target <= {GIGABYTES:g}")
    print(f"driver, growth per row done           {growth:8.0f} B")
    print(f"driver, when all rows are done        {end:8.2f} GB  target <= {GIGABYTES:g}")
    return int(start > SECONDS or max(peak, end) > GIGABYTES)


def memory() -> tuple[int, int]:
    """Return this process's resident memory in bytes, now and at its peak."""
    unit = 1 if sys.platform == "darwin" else 1024
    return psutil.Process().memory_info().rss, resource.getrusage(
        resource.RUSAGE_SELF
    ).ru_maxrss * unit
