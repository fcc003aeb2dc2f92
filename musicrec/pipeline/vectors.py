"""Compute the vectors that submodels read, such as ``statistics``, from the stored features.

The vectors of one part of an extraction are one Parquet file, written like a feature of one frame:
``vectors/KEY/parts/HASH.parquet``, where HASH stands for the rows that it is computed from. A later
extraction that shares parts with this one finds their vectors there. A file that was found damaged
is written again by the next run.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from musicrec.extraction.index import INDEX
from musicrec.extraction.manifest import ROW_GROUP_ROWS, Blocks
from musicrec.features import codec
from musicrec.features.reader import read_stored
from musicrec.features.vectors import available_features, compute_vector, vector_length
from musicrec.pipeline.base import REVISION, Outcome, Run, run_stage
from musicrec.pipeline.extract import places
from musicrec.storage.damage import DAMAGED, PARTS
from musicrec.storage.store import Stage, Store, fingerprint, parquet_bytes

INDEX_FILE = "index.parquet"
# The tracks of a file of vectors, and where each of their features is stored.
Members = list[tuple[str, tuple[tuple[str, int], ...]]]


def vector_places(run: Run, extracted: Outcome, name: str) -> dict[str, tuple[str, int]]:
    """Compute a vector of every track that has its features, and return where each is stored."""
    features = available_features(name, run.config.extract.features)
    stage = run.store.stage("vectors", fingerprint(REVISION, extracted.stage.key, name, features))
    files = Blocks(run.store, f"vectors/{fingerprint(REVISION, name, features)}")
    outcome = run_stage(
        run,
        stage,
        lambda stage: _compute(run, stage, extracted, files, name, features),
        f"vectors {name}",
        should_rerun=lambda record: bool(files.damaged()),
    )
    index = run.store.read_table(outcome.stage.path(INDEX_FILE), INDEX)
    return {row["track_id"]: (row["part"], row["row"]) for row in index.to_pylist()}


def _compute(
    run: Run,
    stage: Stage,
    extracted: Outcome,
    blocks: Blocks,
    name: str,
    features: tuple[str, ...],
) -> dict[str, Any]:
    from musicrec.runtime.cluster import connect, map_unordered

    stored = [places(run, extracted, feature) for feature in features]
    files: dict[str, Members] = {}
    for track in run.catalog.tracks.column("track_id").to_pylist():
        if all(track in of_feature for of_feature in stored):
            place = tuple(of_feature[track] for of_feature in stored)
            files.setdefault(place[0][0], []).append((track, place))
    folder, done = f"{blocks.folder}/{PARTS}", blocks.done()
    named = {fingerprint([place for _, place in members]): members for members in files.values()}
    missing = [
        (f"{folder}/{file}.parquet", members) for file, members in named.items() if file not in done
    ]
    connect(run.config.ray)
    for _ in map_unordered(write_vectors, missing, run.store.root, name, features):
        pass
    for file in blocks.damaged():
        if file not in named:  # of another catalog, whose next run finds that it is missing
            run.store.remove(f"{folder}/{file}.parquet")
        run.store.remove(f"{blocks.folder}/{DAMAGED}/{file}.json")
    rows = [
        {
            "track_id": track,
            "modality": name,
            "part": run.store.uri(f"{folder}/{file}.parquet"),
            "row": row,
        }
        for file, members in named.items()
        for row, (track, _) in enumerate(members)
    ]
    run.store.write_table(stage.path(INDEX_FILE), pa.Table.from_pylist(rows, schema=INDEX), INDEX)
    return {
        "rows_in": run.catalog.tracks.num_rows,
        "rows_out": len(rows),
        "rows_incomplete": run.catalog.tracks.num_rows - len(rows),
        "features": list(features),
        "length": vector_length(name, features),
        "files_now": len(missing),
    }


def write_vectors(
    file: tuple[str, Members], root: str, name: str, features: tuple[str, ...]
) -> None:
    """Compute the vectors of some tracks and write them as one file of the store at ``root``."""
    path, members = file
    read = [
        read_stored([place[position] for _, place in members], feature)
        for position, feature in enumerate(features)
    ]
    cells = [
        codec.encode(
            compute_vector(name, dict(zip(features, (array for array, _ in track), strict=True))),
            "float32",
        )
        for track in zip(*read, strict=True)
    ]
    column = codec.field(name, (vector_length(name, features), 1), "float32")
    table = pa.table(
        [[track for track, _ in members], cells],
        schema=pa.schema([pa.field("track_id", pa.string()), column]),
    )
    Store(root).write(path, parquet_bytes(table, row_group_size=ROW_GROUP_ROWS))
