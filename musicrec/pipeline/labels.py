"""Make the targets of the genre tasks: one or many genres per track."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from musicrec import schema
from musicrec.config.load import ConfigError
from musicrec.pipeline.base import REVISION, Outcome, Run, run_stage
from musicrec.storage.store import Stage, fingerprint
from musicrec.telemetry.progress import event

TABLE = "labels.parquet"


def label(run: Run) -> Outcome:
    """Write the labels of a genre task.

    The stage's folder holds ``labels.parquet`` and its record the names of the classes: all genres
    of the catalog, of every split, sorted by name. A track without a genre is not an example; the
    record counts these tracks as incomplete.

    Raises
    ------
    ConfigError
        The catalog names fewer than two genres.
    """
    genres = genres_of(run)
    stage = run.store.stage(
        "labels", fingerprint(REVISION, run.config.task, sorted(genres.items()))
    )
    return run_stage(run, stage, lambda stage: _write_labels(run, stage, genres))


def genres_of(run: Run) -> dict[str, list[str]]:
    """Return the genres of each track that the task predicts."""
    if run.config.task == "single_genre":
        column = [
            [] if genre is None else [genre]
            for genre in run.catalog.tracks.column("genre_top").to_pylist()
        ]
    else:
        column = run.catalog.tracks.column("genres").to_pylist()
    return dict(zip(run.catalog.tracks.column("track_id").to_pylist(), column, strict=True))


def _write_labels(run: Run, stage: Stage, genres: dict[str, list[str]]) -> dict[str, Any]:
    classes = sorted({genre for own in genres.values() for genre in own})
    if len(classes) < 2:
        column = "genre_top" if run.config.task == "single_genre" else "genres"
        raise ConfigError(
            f"task {run.config.task}: the catalog's column '{column}' names {len(classes)} genres, "
            "and two are needed"
        )
    number = {genre: index for index, genre in enumerate(classes)}
    rows = [
        {"track_id": track, "classes": sorted({number[genre] for genre in own})}
        for track, own in genres.items()
        if own
    ]
    run.store.write_table(
        stage.path(TABLE), pa.Table.from_pylist(rows, schema=schema.LABELS), schema.LABELS
    )
    unlabelled = len(genres) - len(rows)
    if unlabelled:
        event(
            "labels",
            f"{unlabelled} tracks have no genre and are left out of the task '{run.config.task}'",
        )
    return {
        "rows_in": len(genres),
        "rows_out": len(rows),
        "rows_incomplete": unlabelled,
        "dimensions": len(classes),
        "classes": classes,
    }
