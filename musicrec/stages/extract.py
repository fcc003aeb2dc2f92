"""Extraction: audio -> spectral features, artwork -> pictures, broken input -> the errors table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from musicrec import schema
from musicrec.artwork import ArtworkReader
from musicrec.blocks import Blocks
from musicrec.catalog.locations import audio_uris
from musicrec.extraction import Reader, run_blocks
from musicrec.features import AudioReader, compile_kernels, stored_columns
from musicrec.index import INDEX, complete_tracks, found_and_failed, of_tracks
from musicrec.stages.base import REVISION, Outcome, Run, check_counts, run_stage
from musicrec.store import BLOCKS, Stage, fingerprint

ARTWORK = "artwork"


def extract(run: Run) -> Outcome:
    """Extract what the catalog's tracks lack; the stage's folder holds ``index.parquet`` and ``errors.parquet``."""
    if run.config.catalog_rules.form == "cifar100":
        from musicrec.stages.pictures import extract_pictures  # its shapes come with torch, 300 MB that no other catalog's driver needs

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


def artwork_blocks(run: Run) -> tuple[Blocks, ArtworkReader]:
    """The blocks of the catalog's pictures in the run's size, and what reads them."""
    pixels = run.config.extract.artwork_pixels
    return Blocks(run.store, f"artwork/{fingerprint(REVISION, run.catalog.root, pixels)}"), ArtworkReader(pixels)


def audio_items(run: Run) -> pa.Table:
    """The audio files to read (item, uri), one a track."""
    return _files(run, "audio")


def artwork_items(run: Run) -> pa.Table:
    """The pictures to read (item, uri), each once, whatever the number of tracks that show it."""
    unique = pc.unique(_files(run, ARTWORK).column("uri"))
    return pa.table({"item": unique, "uri": unique})


def _files(run: Run, column: str) -> pa.Table:
    """The tracks that have a file of this kind (item), and where it lies (uri)."""
    tracks = run.catalog.tracks.select(["track_id", column]).filter(pc.is_valid(run.catalog.tracks.column(column)))
    return pa.table({"item": tracks.column("track_id"), "uri": audio_uris(run.catalog.root, tracks.column(column))})


def _work(run: Run, stage: Stage) -> dict[str, Any]:
    from musicrec.parallel import connect

    connect(run.config.ray)
    tracks, audio, artwork = run.catalog.tracks, audio_items(run), artwork_items(run)
    blocks, reader = audio_blocks(run)
    pictures, picture_reader = artwork_blocks(run)
    run.store.write_json(stage.path(BLOCKS), {"extract": blocks.folder, ARTWORK: pictures.folder})
    columns = stored_columns(run.config.extract.features)
    counts = _run(run, blocks, audio, columns, reader, "extract", compile_kernels)
    index, errors = found_and_failed(blocks, audio, columns, "extract")
    art_counts = _run(run, pictures, artwork, (ARTWORK,), picture_reader, ARTWORK)
    pictured = _files(run, ARTWORK)
    art_index, art_errors = (of_tracks(table, pictured) for table in found_and_failed(pictures, artwork, (ARTWORK,), ARTWORK))

    complete = complete_tracks(index, columns)
    check_counts("extract", tracks.num_rows, complete, pc.count_distinct(errors.column("track_id")).as_py())
    run.store.write_table(stage.path("index.parquet"), pa.concat_tables([index, art_index]), INDEX)
    run.store.write_table(stage.path("errors.parquet"), pa.concat_tables([errors, art_errors]), schema.ERRORS)
    return {
        "rows_in": tracks.num_rows,
        "rows_out": complete,
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


def places(run: Run, extracted: Outcome, modality: str) -> dict[str, tuple[str, int]]:
    """Part and row of each track that has a modality (a feature's name or "artwork")."""
    if modality == "stft_halved" and "stft" in run.config.extract.features:
        modality = "stft"
    index = run.store.read_table(extracted.stage.path("index.parquet"), INDEX)
    chosen = index.filter(pc.equal(index.column("modality"), modality))
    return {row["track_id"]: (row["part"], row["row"]) for row in chosen.to_pylist()}
