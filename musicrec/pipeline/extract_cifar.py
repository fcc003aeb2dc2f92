"""Extract CIFAR-100: write the published images as Parquet, and list broken ones as errors.

The 60,000 images take seconds, so one process does it, and an interrupted run starts over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from musicrec import schema
from musicrec.catalog.published.cifar100 import PictureFile, place, read_pictures
from musicrec.extraction.index import INDEX
from musicrec.extraction.manifest import OUTCOME_FIELDS, Blocks
from musicrec.extraction.pipeline import too_many_errors
from musicrec.features import codec
from musicrec.models.shapes import INPUT_SHAPES
from musicrec.pipeline.base import REVISION, Outcome, Run, run_stage
from musicrec.storage.store import Stage, check_counts, fingerprint, resolve
from musicrec.telemetry.progress import Meter

FEATURE = "cifar"
SHAPE = INPUT_SHAPES[FEATURE]
PICTURE_BYTES = SHAPE[0] * SHAPE[1] * SHAPE[2]
PART_ROWS = 4096
PART = pa.schema(
    [
        pa.field("track_id", pa.string()),
        pa.field("audio", pa.string()),
        codec.field(FEATURE, SHAPE, codec.EXACT_BYTES),
        *OUTCOME_FIELDS,
    ]
)


def extract_pictures(run: Run) -> Outcome:
    """Store every image of the catalog.

    The stage's folder holds ``index.parquet`` and ``errors.parquet``, as that of ``extract``.

    Raises
    ------
    TooManyErrors
        More images are broken than ``extract.maximum_failed_share`` allows.
    """
    stage = run.store.stage(
        "extract", fingerprint(REVISION, run.catalog_key, run.catalog.root, FEATURE)
    )
    retry = run.config.extract.retry_errors
    return run_stage(
        run,
        stage,
        lambda stage: _extract_all(run, stage),
        should_rerun=lambda record: retry and record["rows_in_errors"] > 0,
    )


def _extract_all(run: Run, stage: Stage) -> dict[str, Any]:
    tracks = run.catalog.tracks
    index, errors = [INDEX.empty_table()], [schema.ERRORS.empty_table()]
    blocks, size = Blocks(run.store, stage.folder), 0
    with Meter("extract", tracks.num_rows, "rows") as meter:
        for name, part in _parts(run):
            size += blocks.commit(name, part)
            good = pc.is_null(part.column("reason"))
            places = {
                "track_id": part.column("track_id"),
                "modality": pa.array([FEATURE] * part.num_rows),
                "part": blocks.part_uris(pa.array([name] * part.num_rows)),
                "row": pa.array(range(part.num_rows), pa.int32()),
            }
            index.append(pa.table(places, schema=INDEX).filter(good))
            failed = part.filter(pc.invert(good)).append_column(
                "stage", pa.array(["extract"] * (part.num_rows - pc.sum(good).as_py()))
            )
            errors.append(schema.conform(failed, schema.ERRORS, "errors"))
            meter.advance(part.num_rows, errors=failed.num_rows)
    all_places, all_errors = pa.concat_tables(index), pa.concat_tables(errors)
    maximum = run.config.extract.maximum_failed_share
    if all_errors.num_rows > maximum * tracks.num_rows:
        reasons = all_errors.column("reason")
        raise too_many_errors("extract", reasons, tracks.num_rows, maximum, run.store.root)
    check_counts("extract", tracks.num_rows, all_places.num_rows, all_errors.num_rows)
    run.store.write_table(stage.path("index.parquet"), all_places, INDEX)
    run.store.write_table(stage.path("errors.parquet"), all_errors, schema.ERRORS)
    return {
        "rows_in": tracks.num_rows,
        "rows_out": all_places.num_rows,
        "rows_in_errors": all_errors.num_rows,
        "artwork_errors": 0,
        "rows_extracted_now": tracks.num_rows,
        "pictures_now": 0,  # of artwork, which this catalog does not have
        "bytes_written_now": size,
        "errors": stage.store.uri(stage.path("errors.parquet")),
    }


def _parts(run: Run) -> Iterator[tuple[str, pa.Table]]:
    """Yield the name and rows of each part, file by file in the catalog's order."""
    columns = run.catalog.tracks.select(["track_id", "audio", "genre_top"])
    files: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for track in columns.to_pylist():
        name, row = place(track["audio"])
        files.setdefault(name, []).append((row, track))
    filesystem = resolve(run.catalog.root)
    for name, rows in files.items():
        pictures = read_pictures(filesystem, name)
        for number, start in enumerate(range(0, len(rows), PART_ROWS)):
            part = [_row(pictures, row, track) for row, track in rows[start : start + PART_ROWS]]
            yield f"{name}-{number:04d}", pa.Table.from_pylist(part, schema=PART)


def _row(pictures: PictureFile, row: int, track: dict[str, Any]) -> dict[str, Any]:
    """Return a row of a part: the image, or the reason that there is none."""
    content = pictures.picture(row)
    stored = {"track_id": track["track_id"], "audio": track["audio"]}
    if content is None:
        return stored | {
            "reason": "not_found",
            "detail": f"{track['audio']}: there are {len(pictures.pictures)} pictures",
        }
    if len(content) != PICTURE_BYTES:
        return stored | {
            "reason": "not_image",
            "detail": f"{track['audio']}: {len(content)} bytes, and a picture has {PICTURE_BYTES}",
        }
    if track["genre_top"] is None:
        label = pictures.labels[row] if row < len(pictures.labels) else None
        return stored | {
            "reason": "unlabelled",
            "detail": f"{track['audio']}: its label is {label}",
        }
    return stored | {FEATURE: content}
