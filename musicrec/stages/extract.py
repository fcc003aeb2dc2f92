"""Extraction: audio -> spectral features, artwork -> pictures, broken input -> the errors table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from musicrec import schema
from musicrec.artwork import ArtworkReader
from musicrec.blocks import Blocks, failures
from musicrec.catalog.tables import audio_uri
from musicrec.extraction import Reader, run_blocks
from musicrec.features import AudioReader, compile_kernels, stored_columns
from musicrec.stages.base import REVISION, Outcome, Run, check_counts, run_stage
from musicrec.store import BLOCKS, Stage, fingerprint

# Where the input of a track lies: which modality, in which part, at which row.
INDEX = pa.schema([("track_id", pa.string()), ("modality", pa.string()), ("part", pa.string()), ("row", pa.int32())])
ARTWORK = "artwork"


def extract(run: Run) -> Outcome:
    """Extract what the catalog's tracks lack; the stage's folder holds ``index.parquet`` and ``errors.parquet``."""
    if run.config.catalog_rules.form == "cifar100":
        from musicrec.stages.pictures import extract_pictures  # it writes this module's INDEX

        return extract_pictures(run)
    settings = run.config.extract
    decides = (settings.features, settings.precision, settings.chroma, settings.minimum_seconds, settings.artwork_pixels)
    stage = run.store.stage("extract", fingerprint(REVISION, run.catalog_key, run.catalog.root, decides))
    return run_stage(
        run, stage, lambda stage: _work(run, stage), again=lambda record: settings.retry_errors and record["rows_in_errors"] > 0
    )


def audio_blocks(run: Run) -> tuple[Blocks, AudioReader]:
    """The blocks of the catalog's features with the run's parameters, and what reads them."""
    settings = run.config.extract
    reader = AudioReader(settings.precision, settings.chroma, settings.minimum_seconds)
    key = fingerprint(REVISION, run.catalog.root, reader.parameters(), settings.minimum_seconds)
    return Blocks(run.store, f"features/{key}"), reader


def _work(run: Run, stage: Stage) -> dict[str, Any]:
    from musicrec.parallel import connect

    connect(run.config.ray)
    settings, tracks = run.config.extract, run.catalog.tracks
    uris = pa.array([audio_uri(run.catalog.root, value) for value in tracks.column("audio").to_pylist()], pa.string())
    audio = pa.table({"item": tracks.column("track_id"), "uri": uris})
    blocks, reader = audio_blocks(run)
    pictures = Blocks(run.store, f"artwork/{fingerprint(REVISION, run.catalog.root, settings.artwork_pixels)}")
    run.store.write_json(stage.path(BLOCKS), {"extract": blocks.folder, ARTWORK: pictures.folder})
    columns = stored_columns(settings.features)
    counts = _run(run, blocks, audio, columns, reader, "extract", compile_kernels)
    index, errors = _placed(blocks, audio, columns, "extract")

    pictured = tracks.filter(pc.is_valid(tracks.column("artwork")))
    uris = [audio_uri(run.catalog.root, value) for value in pictured.column("artwork").to_pylist()]
    unique = pc.unique(pa.array(uris, pa.string()))
    artwork = pa.table({"item": unique, "uri": unique})
    art_counts = _run(run, pictures, artwork, (ARTWORK,), ArtworkReader(settings.artwork_pixels), ARTWORK)
    art_index, art_errors = _placed(pictures, artwork, (ARTWORK,), ARTWORK)
    art_index, art_errors = (_for_tracks(table, pictured.column("track_id").to_pylist(), uris) for table in (art_index, art_errors))

    complete = _complete(index, columns)
    check_counts("extract", tracks.num_rows, len(complete), len(pc.unique(errors.column("track_id"))))
    run.store.write_table(stage.path("index.parquet"), pa.concat_tables([index, art_index]), INDEX)
    run.store.write_table(stage.path("errors.parquet"), pa.concat_tables([errors, art_errors]), schema.ERRORS)
    return {
        "rows_in": tracks.num_rows,
        "rows_out": len(complete),
        "rows_in_errors": errors.num_rows,
        "artwork_errors": art_errors.num_rows,
        "rows_extracted_now": counts["rows"],
        "pictures_now": art_counts["rows"],
        "bytes_written_now": counts["bytes"] + art_counts["bytes"],
        "cpu_seconds_now": round(counts["cpu_seconds"] + art_counts["cpu_seconds"], 2),
        "errors": stage.store.uri(stage.path("errors.parquet")),
    }


def _run(
    run: Run,
    blocks: Blocks,
    items: pa.Table,
    columns: tuple[str, ...],
    reader: Reader,
    stage: str,
    prepare: Callable[[], None] | None = None,
) -> dict[str, float]:
    settings = run.config.extract
    plan = blocks.extend(items, columns, settings.rows_per_block, retry=settings.retry_errors)
    return run_blocks(blocks, plan, reader, stage, settings.maximum_failed_share, prepare)


def _placed(blocks: Blocks, items: pa.Table, columns: tuple[str, ...], stage: str) -> tuple[pa.Table, pa.Table]:
    """Index and errors of these items: the latest good row of each column, and the items that lack a column."""
    outcomes = blocks.outcomes()
    wanted = dict(zip(items.column("item").to_pylist(), items.column("uri").to_pylist(), strict=True))
    places: dict[tuple[str, str], tuple[str, int]] = {}
    for row in outcomes.filter(pc.is_null(outcomes.column("reason"))).to_pylist():
        if wanted.get(row["item"]) == row["uri"]:
            places |= {(row["item"], column): (blocks.part_uri(row["block"]), row["row"]) for column in row["columns"] if column in columns}
    index = [{"track_id": item, "modality": column, "part": part, "row": place} for (item, column), (part, place) in places.items()]
    failed = {
        row["item"]: {"track_id": row["item"], "stage": stage, "reason": row["reason"], "detail": row["detail"]}
        for row in failures(outcomes).to_pylist()
        if wanted.get(row["item"]) == row["uri"] and any((row["item"], column) not in places for column in columns)
    }
    return pa.Table.from_pylist(index, schema=INDEX), pa.Table.from_pylist(list(failed.values()), schema=schema.ERRORS)


def _complete(index: pa.Table, columns: tuple[str, ...]) -> list[str]:
    counts = index.group_by("track_id").aggregate([("modality", "count")])
    return counts.filter(pc.equal(counts.column("modality_count"), len(columns))).column("track_id").to_pylist()


def _for_tracks(table: pa.Table, track_ids: list[str], uris: list[str]) -> pa.Table:
    """Rows about pictures as rows about the tracks that show them."""
    rows = {row["track_id"]: row for row in table.to_pylist()}
    return pa.Table.from_pylist(
        [rows[uri] | {"track_id": track} for track, uri in zip(track_ids, uris, strict=True) if uri in rows], schema=table.schema
    )


def places(run: Run, extracted: Outcome, modality: str) -> dict[str, tuple[str, int]]:
    """Part and row of each track that has a modality (a feature's name or "artwork")."""
    if modality == "stft_halved" and "stft" in run.config.extract.features:
        modality = "stft"
    index = run.store.read_table(extracted.stage.path("index.parquet"), INDEX)
    chosen = index.filter(pc.equal(index.column("modality"), modality))
    return {row["track_id"]: (row["part"], row["row"]) for row in chosen.to_pylist()}
