"""Summarise the extracted features of each track in one vector, for the baselines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from musicrec.features.moments import clip_statistics
from musicrec.features.reader import read_part
from musicrec.pipeline.base import REVISION, Outcome, Run, run_stage
from musicrec.pipeline.extract import places
from musicrec.storage.store import Stage, fingerprint

TABLE = "statistics.parquet"
STATISTICS = pa.schema(
    [
        pa.field("track_id", pa.string(), nullable=False),
        pa.field("vector", pa.list_(pa.float32()), nullable=False),
    ]
)


def statistics(run: Run, extracted: Outcome) -> Outcome:
    """Write seven moments of each row of the features ``evaluate.statistics``.

    Tracks that lack one of these features are left out.
    """
    features = tuple(
        name for name in run.config.evaluate.statistics if name in run.config.extract.features
    )
    features = features or run.config.extract.features[:1]
    stage = run.store.stage("statistics", fingerprint(REVISION, extracted.stage.key, features))
    return run_stage(run, stage, lambda stage: _compute(run, stage, extracted, features))


def _compute(
    run: Run, stage: Stage, extracted: Outcome, features: tuple[str, ...]
) -> dict[str, Any]:
    from musicrec.runtime.cluster import connect, map_unordered

    connect(run.config.ray)
    by_feature: dict[str, dict[str, np.ndarray]] = {}
    for feature in features:
        tracks_of_part: dict[str, dict[int, str]] = {}
        for track, (part, row) in places(run, extracted, feature).items():
            tracks_of_part.setdefault(part, {})[row] = track
        by_feature[feature] = {
            tracks_of_part[part][row]: vector
            for part, vectors in map_unordered(part_statistics, tracks_of_part, feature)
            for row, vector in vectors.items()
            if row in tracks_of_part[part]
        }
    tracks = [
        track
        for track in run.catalog.tracks.column("track_id").to_pylist()
        if all(track in by_feature[name] for name in features)
    ]
    vectors = [np.concatenate([by_feature[name][track] for name in features]) for track in tracks]
    run.store.write_table(
        stage.path(TABLE), pa.table({"track_id": tracks, "vector": vectors}, STATISTICS), STATISTICS
    )
    missing = run.catalog.tracks.num_rows - len(tracks)
    return {
        "rows_in": run.catalog.tracks.num_rows,
        "rows_out": len(tracks),
        "rows_incomplete": missing,
        "features": list(features),
    }


def part_statistics(part: str, feature: str) -> tuple[str, dict[int, np.ndarray]]:
    """Return the statistics of every good row of one part, by the row's number."""
    # Images (channels, height, width) are summarised by the rows of each channel.
    return part, {
        row: clip_statistics(pair[0].reshape(-1, pair[0].shape[-1]))
        for row, pair in enumerate(read_part(part, feature))
        if pair is not None
    }


def read_statistics(run: Run, outcome: Outcome, track_ids: list[str]) -> np.ndarray:
    """Return statistics (N, S), float32, in the order of ``track_ids``; NaN for tracks without."""
    table = run.store.read_table(outcome.stage.path(TABLE), STATISTICS)
    position = {track: row for row, track in enumerate(table.column("track_id").to_pylist())}
    values = (
        np.stack(table.column("vector").to_numpy())
        if table.num_rows
        else np.zeros((0, 1), np.float32)
    )
    rows = np.array([position.get(track, -1) for track in track_ids], np.int64)
    result = np.full((len(track_ids), values.shape[1]), np.nan, np.float32)
    result[rows >= 0] = values[rows[rows >= 0]]
    return result
