"""Compare extraction through Ray with a bare loop over the same clips.

The bare loop decodes, extracts, encodes and writes blocks as a worker does, in this process on one
thread. The pipeline uses all CPUs of a Ray started here, after a small first pass that starts the
workers. The reported fraction is the pipeline's rate divided by (the loop's rate x CPUs).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa

from musicrec.audio import FEATURES
from musicrec.benchmarks.features import THREAD_VARIABLES, render_clips
from musicrec.config.sections import RaySettings
from musicrec.extraction.manifest import Blocks
from musicrec.extraction.pipeline import run_blocks
from musicrec.features.columns import AudioReader, stored_columns
from musicrec.storage.store import Store

TARGET = 0.85
CLIPS = 512
ROWS_PER_BLOCK = 32
RENDERED = 12


def run(arguments: list[str]) -> int:
    """Run the benchmark and print it; return 1 if the pipeline is below its target."""
    parser = argparse.ArgumentParser(prog="benchmark.py pipeline", description=__doc__)
    parser.add_argument(
        "--clips",
        type=Path,
        help="folder of clips (default: render works of the demo catalog)",
    )
    parser.add_argument(
        "--count",
        type=int,
        default=CLIPS,
        help="rows to extract, cycling through the clips (default %(default)s)",
    )
    parser.add_argument(
        "--loop",
        type=int,
        default=96,
        help="rows that the bare loop reads (default %(default)s)",
    )
    parser.add_argument(
        "--cpus",
        type=int,
        default=os.cpu_count(),
        help="CPUs for the pipeline (default %(default)s)",
    )
    options = parser.parse_args(arguments)
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"
    with tempfile.TemporaryDirectory() as folder:
        clips = (
            sorted(options.clips.iterdir())
            if options.clips
            else render_clips(Path(folder) / "clips", RENDERED)
        )
        uris = [str(clips[index % len(clips)]) for index in range(options.count)]
        loop = _bare_loop(f"{folder}/loop", uris[: options.loop])
        with multiprocessing.get_context("spawn").Pool(options.cpus) as pool:
            stores = [f"{folder}/loop-{number}" for number in range(options.cpus)]
            all_loops = sum(
                pool.starmap(
                    _bare_loop, [(store, uris[: options.loop]) for store in stores], chunksize=1
                )
            )
        rate, memory = _pipeline(Store(f"{folder}/ray"), uris, options.cpus)
    fraction = rate / (loop * options.cpus)
    print(f"bare loop, one process                {loop:8.1f} clips/s")
    print(f"bare loops, {options.cpus} processes at once        {all_loops:8.1f} clips/s")
    print(
        f"pipeline, {options.cpus} CPUs, {options.count} clips          {rate:8.1f} clips/s   "
        f"{rate / options.cpus:.1f} clips/s per core"
    )
    print(f"fraction of bare loop x CPUs          {fraction:8.2f}           target >= {TARGET}")
    print(f"fraction of bare loops at once        {rate / all_loops:8.2f}")
    print(f"peak memory of a worker               {memory / 2**20:8.0f} MiB")
    return int(fraction < TARGET)


def _bare_loop(folder: str, uris: list[str]) -> float:
    """Return the clips per second of one process."""
    blocks, reader = Blocks(Store(folder), "features"), _reader()
    plan = blocks.extend(_items(uris), stored_columns(FEATURES), ROWS_PER_BLOCK)
    reader(plan.slice(0, 1))  # Numba loads its kernels
    started = time.perf_counter()
    for start in range(0, plan.num_rows, ROWS_PER_BLOCK):
        rows = plan.slice(start, ROWS_PER_BLOCK)
        blocks.commit(rows.column("block")[0].as_py(), reader(rows))
    return plan.num_rows / (time.perf_counter() - started)


def _pipeline(store: Store, uris: list[str], cpus: int) -> tuple[float, int]:
    """Return clips per second through Ray, and the peak resident memory of a worker in bytes."""
    import ray

    from musicrec.runtime.cluster import connect

    connect(RaySettings(num_cpus=cpus))
    warm = Blocks(store, "warm")
    run_blocks(
        warm,
        warm.extend(_items(uris[: 4 * cpus]), stored_columns(FEATURES), 2),
        _reader(),
        "warm-up",
        0.0,
    )
    blocks = Blocks(store, "features")
    plan = blocks.extend(_items(uris), stored_columns(FEATURES), ROWS_PER_BLOCK)
    started = time.perf_counter()
    run_blocks(blocks, plan, _MeasuredReader(_reader(), f"{store.root}/memory"), "pipeline", 0.0)
    seconds = time.perf_counter() - started
    memory = max(int(path.read_text()) for path in Path(f"{store.root}/memory").iterdir())
    ray.shutdown()
    return len(uris) / seconds, memory


class _MeasuredReader:
    """Wrap a reader to record its process's peak resident memory."""

    def __init__(self, reader: AudioReader, folder: str) -> None:
        self.reader, self.folder = reader, folder

    def failed(self, rows: pa.Table, reason: str, detail: str) -> pa.Table:
        return self.reader.failed(rows, reason, detail)

    def __call__(self, rows: pa.Table) -> pa.Table:
        import resource

        outcome = self.reader(rows)
        os.makedirs(self.folder, exist_ok=True)
        unit = 1 if sys.platform == "darwin" else 1024
        Path(self.folder, str(os.getpid())).write_text(
            str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
        )
        return outcome


def _reader() -> AudioReader:
    return AudioReader(precision="float16", chroma="librosa", minimum_seconds=29.0)


def _items(uris: list[str]) -> pa.Table:
    return pa.table({"item": [f"clip-{index:06d}" for index in range(len(uris))], "uri": uris})
