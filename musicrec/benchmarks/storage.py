"""Measure stored bytes per track, and milliseconds to write and read, by feature and precision."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from musicrec.audio import FEATURE_SHAPES, FEATURES, extract_features, load_audio
from musicrec.benchmarks.features import render_clips
from musicrec.extraction.manifest import ROW_GROUP_ROWS
from musicrec.features import codec
from musicrec.features.columns import column_precision
from musicrec.storage.parquet import parquet_bytes
from musicrec.telemetry.tables import markdown_table

CATALOGS = {"FMA large": 104_284, "a million tracks": 1_000_000}
PRECISIONS = ("float16", "uint8")  # as in extract.precision
RENDERED = 16


def run(arguments: list[str]) -> int:
    """Run the benchmark and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="benchmark.py storage", description=__doc__)
    parser.add_argument(
        "--clips",
        type=Path,
        help="folder of clips (default: render works of the demo catalog)",
    )
    parser.add_argument(
        "--count", type=int, default=RENDERED, help="number of clips (default %(default)s)"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        clips = (
            sorted(options.clips.iterdir())
            if options.clips
            else render_clips(Path(folder), options.count)
        )
        extracted = [extract_features(load_audio(clip)) for clip in clips[: options.count]]
    print(
        f"{len(extracted)} clips; Parquet, zstd 1, no dictionaries; "
        "the largest error is in the feature's own unit (dB; chroma linear)"
    )
    columns = ("feature", "precision", "bytes per track", "write ms", "read ms", "largest error")
    rows: list[list[str]] = []
    totals = dict.fromkeys(PRECISIONS, 0.0)
    for name in FEATURES:
        for setting in PRECISIONS:
            precision = column_precision(name, setting)
            size, write, read, error = _measure(
                [features[name] for features in extracted], name, precision
            )
            totals[setting] += size if name != "stft_halved" else 0
            times = (f"{size:,.0f}", f"{write:.2f}", f"{read:.2f}", f"{error:.3f}")
            rows.append([name, precision, *times, *_catalog_sizes(size)])
    for precision, size in totals.items():
        rows.append(
            [
                "all six (stft_halved within stft)",
                precision,
                f"{size:,.0f}",
                *[""] * 3,
                *_catalog_sizes(size),
            ]
        )
    print(markdown_table([*columns, *CATALOGS], rows))
    return 0


def _catalog_sizes(size: float) -> list[str]:
    return [f"{size * tracks / 1e9:,.0f} GB" for tracks in CATALOGS.values()]


def _measure(
    arrays: list[np.ndarray], name: str, precision: str
) -> tuple[float, float, float, float]:
    """Return bytes, milliseconds to write and to read one track, and the largest error."""
    schema = pa.schema([codec.field(name, FEATURE_SHAPES[name], precision)])
    # Warm up: first use of memory costs more than the work itself.
    _read(_write(arrays, schema, precision), name)
    started = time.process_time()
    content = _write(arrays, schema, precision)
    written = time.process_time()
    decoded = _read(content, name)
    read = time.process_time()
    error = max(
        float(np.abs(array - back).max()) for array, back in zip(arrays, decoded, strict=True)
    )
    count = len(arrays)
    return (
        len(content) / count,
        1e3 * (written - started) / count,
        1e3 * (read - written) / count,
        error,
    )


def _write(arrays: list[np.ndarray], schema: pa.Schema, precision: str) -> bytes:
    cells = pa.array([codec.encode(array, precision) for array in arrays], pa.large_binary())
    return parquet_bytes(
        pa.Table.from_arrays([cells], schema=schema),
        row_group_size=ROW_GROUP_ROWS,
        statistics=False,
    )


def _read(content: bytes, name: str) -> list[np.ndarray | None]:
    return codec.decode_column(
        pyarrow.parquet.read_table(pa.BufferReader(content), use_threads=False), name
    )
