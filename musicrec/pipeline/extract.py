"""Extraction: audio -> spectral features, artwork -> pictures, broken input -> the errors table."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from musicrec import schema
from musicrec.catalog.locations import audio_uris
from musicrec.catalog.tables import FINGERPRINT_ROWS
from musicrec.catalog.versions import file_versions
from musicrec.extraction.index import INDEX, build_index, complete_tracks, expand_to_tracks
from musicrec.extraction.isolation import Reader
from musicrec.extraction.manifest import Blocks
from musicrec.extraction.pipeline import Actors, run_blocks
from musicrec.extraction.rows import row_keys, with_manifest_versions
from musicrec.features.artwork import ArtworkReader
from musicrec.features.columns import AudioReader, compile_kernels, stored_columns
from musicrec.features.torch_reader import TorchAudioReader
from musicrec.pipeline.base import REVISION, Outcome, Run, run_stage
from musicrec.storage.store import BLOCKS, Stage, check_counts, complete_stages, fingerprint

ARTWORK = "artwork"
# The audio files of an extraction, from which the next one tells what is new.
FILES = "files.parquet"
ITEMS = pa.schema([(name, pa.string()) for name in ("item", "uri", "version")])


def extract(run: Run) -> Outcome:
    """Extract what the catalog's tracks lack; the stage's folder holds ``index.parquet`` and ``errors.parquet``."""
    if run.config.catalog_rules.form == "cifar100":
        from musicrec.pipeline.extract_cifar import (
            extract_pictures,  # its shapes come with torch, 300 MB that no other catalog's driver needs
        )

        return extract_pictures(run)
    settings = run.config.extract
    decides = (
        settings.features,
        settings.precision,
        settings.chroma,
        settings.minimum_seconds,
        settings.artwork_pixels,
        *([settings.device] if settings.device != "cpu" else []),
    )
    # A file that is gone since it was extracted is no reason to train anew.
    audio = with_manifest_versions(audio_items(run), audio_blocks(run)[0].manifest())
    artwork = with_manifest_versions(artwork_items(run), artwork_blocks(run)[0].manifest())
    stage = run.store.stage(
        "extract",
        fingerprint(
            REVISION, run.catalog_key, run.catalog.root, decides, *_identity(audio, artwork)
        ),
    )
    return run_stage(
        run,
        stage,
        lambda stage: _work(run, stage, audio, artwork),
        should_rerun=lambda record: settings.retry_errors and record["rows_in_errors"] > 0,
    )


def _identity(*items: pa.Table) -> list[str]:
    """A hash of the files' versions, the same for any order of rows; nothing where none is known."""
    known = [table.filter(pc.is_valid(table.column("version"))) for table in items]
    if not any(table.num_rows for table in known):
        return []
    digest = hashlib.sha256()
    for table in known:
        keys = row_keys(table.sort_by("item"))
        for start in range(0, len(keys), FINGERPRINT_ROWS):
            some = keys.slice(start, FINGERPRINT_ROWS).combine_chunks().cast(pa.string())
            digest.update(
                pc.binary_join(pa.ListArray.from_arrays([0, len(some)], some), "\n")[0].as_buffer()
            )
        digest.update(f"{table.num_rows}".encode())
    return [digest.hexdigest()[:16]]


def audio_blocks(run: Run) -> tuple[Blocks, AudioReader]:
    """The blocks of the catalog's features with the run's parameters, and what reads them."""
    settings = run.config.extract
    kind = AudioReader if settings.device == "cpu" else TorchAudioReader
    reader = kind(settings.precision, settings.chroma, settings.minimum_seconds)
    key = fingerprint(REVISION, run.catalog.root, reader.parameters(), settings.minimum_seconds)
    return Blocks(run.store, f"features/{key}"), reader


def artwork_blocks(run: Run) -> tuple[Blocks, ArtworkReader]:
    """The blocks of the catalog's pictures in the run's size, and what reads them."""
    pixels = run.config.extract.artwork_pixels
    return Blocks(
        run.store, f"artwork/{fingerprint(REVISION, run.catalog.root, pixels)}"
    ), ArtworkReader(pixels)


def audio_items(run: Run) -> pa.Table:
    """The audio files to read (item, uri, version), one a track."""
    return _versioned(run, _files(run, "audio"))


def artwork_items(run: Run) -> pa.Table:
    """The pictures to read (item, uri, version), each once, whatever the number of tracks that show it."""
    unique = pc.unique(_files(run, ARTWORK).column("uri"))
    return _versioned(run, pa.table({"item": unique, "uri": unique}))


def _versioned(run: Run, files: pa.Table) -> pa.Table:
    """With the version of each file; null where nobody asks."""
    asks = run.config.extract.notice_changes
    versions = (
        file_versions(files.column("uri"), run.catalog.root)
        if asks
        else pa.nulls(files.num_rows, pa.string())
    )
    return files.append_column("version", versions)


def _files(run: Run, column: str) -> pa.Table:
    """The tracks that have a file of this kind (item), and where it lies (uri)."""
    tracks = run.catalog.tracks.select(["track_id", column]).filter(
        pc.is_valid(run.catalog.tracks.column(column))
    )
    return pa.table(
        {
            "item": tracks.column("track_id"),
            "uri": audio_uris(run.catalog.root, tracks.column(column)),
        }
    )


def _work(run: Run, stage: Stage, audio: pa.Table, artwork: pa.Table) -> dict[str, Any]:
    from musicrec.runtime.cluster import check_cuda, connect

    connect(run.config.ray)
    actors = None
    if run.config.extract.device == "cuda":
        check_cuda("extract.device")
        actors = Actors.of_cluster()
    tracks = run.catalog.tracks
    blocks, reader = audio_blocks(run)
    if actors is not None:
        reader = dataclasses.replace(reader, threads=actors.cpus)
    pictures, picture_reader = artwork_blocks(run)
    run.store.write_json(stage.path(BLOCKS), {"extract": blocks.folder, ARTWORK: pictures.folder})
    columns = stored_columns(run.config.extract.features)
    counts = _run(run, blocks, audio, columns, reader, "extract", compile_kernels, actors)
    index, errors = build_index(blocks, audio, columns, "extract")
    art_counts = _run(run, pictures, artwork, (ARTWORK,), picture_reader, ARTWORK)
    pictured = _files(run, ARTWORK)
    art_index, art_errors = (
        expand_to_tracks(table, pictured)
        for table in build_index(pictures, artwork, (ARTWORK,), ARTWORK)
    )

    complete = complete_tracks(index, columns)
    check_counts(
        "extract", tracks.num_rows, complete, pc.count_distinct(errors.column("track_id")).as_py()
    )
    run.store.write_table(stage.path("index.parquet"), pa.concat_tables([index, art_index]), INDEX)
    run.store.write_table(
        stage.path("errors.parquet"), pa.concat_tables([errors, art_errors]), schema.ERRORS
    )
    run.store.write_table(stage.path(FILES), audio, ITEMS)
    lineage = fingerprint(blocks.folder, columns)
    return {
        **_changes(run, stage, audio, lineage),
        "lineage": lineage,
        "catalog": run.catalog.root,
        "chroma": run.config.extract.chroma,
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


def _changes(run: Run, stage: Stage, audio: pa.Table, lineage: str) -> dict[str, int]:
    """How many tracks are new, changed and removed since the last extraction of the same catalog with the same settings."""
    earlier = (
        found
        for found, record in complete_stages(run.store, "extract")
        if record.get("lineage") == lineage and found != stage
    )
    last = next(earlier, None)
    before = ITEMS.empty_table() if last is None else run.store.read_table(last.path(FILES), ITEMS)
    known = pc.is_in(audio.column("item"), value_set=before.column("item").combine_chunks())
    same = pc.is_in(row_keys(audio), value_set=row_keys(before).combine_chunks())
    kept = pc.sum(known, min_count=0).as_py()
    return {
        "tracks_new": audio.num_rows - kept,
        "tracks_changed": kept - pc.sum(same, min_count=0).as_py(),
        "tracks_removed": before.num_rows - kept,
    }


def _run(
    run: Run,
    blocks: Blocks,
    items: pa.Table,
    columns: tuple[str, ...],
    reader: Reader,
    stage: str,
    prepare: Callable[[], None] | None = None,
    actors: Actors | None = None,
) -> dict[str, float]:
    settings = run.config.extract
    plan = blocks.extend(items, columns, settings.rows_per_block, retry=settings.retry_errors)
    return run_blocks(
        blocks,
        plan,
        reader,
        stage,
        settings.maximum_failed_share,
        prepare,
        actors,
        seconds_per_file=settings.seconds_per_file,
    )


def places(run: Run, extracted: Outcome, modality: str) -> dict[str, tuple[str, int]]:
    """Part and row of each track that has a modality (a feature's name or "artwork")."""
    if modality == "stft_halved" and "stft" in run.config.extract.features:
        modality = "stft"
    index = run.store.read_table(extracted.stage.path("index.parquet"), INDEX)
    chosen = index.filter(pc.equal(index.column("modality"), modality))
    return {row["track_id"]: (row["part"], row["row"]) for row in chosen.to_pylist()}
