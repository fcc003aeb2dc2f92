"""Extract spectral features from audio and images from artwork; list broken files as errors."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from musicrec import schema
from musicrec.catalog.locations import audio_uris
from musicrec.catalog.tables import FINGERPRINT_ROWS
from musicrec.catalog.versions import file_versions
from musicrec.extraction.index import INDEX, build_index, complete_tracks, expand_to_tracks
from musicrec.extraction.manifest import Blocks
from musicrec.extraction.pipeline import Actors
from musicrec.extraction.rows import row_keys, with_manifest_versions
from musicrec.features.artwork import ArtworkReader
from musicrec.features.columns import AudioReader, compile_kernels, stored_columns
from musicrec.features.torch_reader import TorchAudioReader
from musicrec.pipeline.base import REVISION, Outcome, Run, run_stage
from musicrec.pipeline.blocks import extract_blocks
from musicrec.pipeline.extract_pretrained import (
    extract_pretrained,
    pretrained_blocks,
    pretrained_counts,
)
from musicrec.storage.store import BLOCKS, Stage, check_counts, complete_stages, fingerprint
from musicrec.telemetry.progress import event

ARTWORK = "artwork"
# The audio files of an extraction; the next one compares its own with them.
FILES = "files.parquet"
ITEMS = pa.schema([(name, pa.string()) for name in ("item", "uri", "version")])


def extract(run: Run) -> Outcome:
    """Extract the features and images that the store does not have yet.

    The stage's folder holds ``index.parquet`` and ``errors.parquet``.
    """
    if run.config.catalog_rules.form == "cifar100":
        # It imports torch, 300 MB that the drivers of other catalogs do not need.
        from musicrec.pipeline.extract_cifar import extract_pictures

        return extract_pictures(run)
    settings = run.config.extract
    decides = (
        settings.features,
        settings.precision,
        settings.chroma,
        settings.minimum_seconds,
        settings.artwork_pixels,
        *([settings.device] if settings.device != "cpu" else []),
        *([pretrained_blocks(run, name)[0].folder for name in settings.pretrained]),
    )
    # A file that was deleted after its extraction is no reason to train again.
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
        lambda stage: _extract_all(run, stage, audio, artwork),
        should_rerun=lambda record: (
            (
                settings.retry_errors
                and record["rows_in_errors"] + record.get("pretrained_errors", 0) > 0
            )
            or _has_damage(run)
        ),
    )


def _has_damage(run: Run) -> bool:
    """Return whether parts were found damaged, so that their blocks must be extracted again."""
    damaged = [
        blocks.store.uri(f"{blocks.folder}: {name}")
        for blocks in (
            audio_blocks(run)[0],
            artwork_blocks(run)[0],
            *(pretrained_blocks(run, name)[0] for name in run.config.extract.pretrained),
        )
        for name in sorted(blocks.damaged())
    ]
    if damaged:
        event("extract", "damaged blocks are extracted again", blocks=", ".join(damaged[:3]))
    return bool(damaged)


def _identity(*items: pa.Table) -> list[str]:
    """Return a hash of the files' versions, independent of the order of rows; empty without any."""
    versioned = [table.filter(pc.is_valid(table.column("version"))) for table in items]
    if not any(table.num_rows for table in versioned):
        return []
    digest = hashlib.sha256()
    for table in versioned:
        keys = row_keys(table.sort_by("item"))
        for start in range(0, len(keys), FINGERPRINT_ROWS):
            chunk = keys.slice(start, FINGERPRINT_ROWS).combine_chunks().cast(pa.string())
            lines = pc.binary_join(pa.ListArray.from_arrays([0, len(chunk)], chunk), "\n")
            digest.update(lines[0].as_buffer())
        digest.update(f"{table.num_rows}".encode())
    return [digest.hexdigest()[:16]]


def audio_blocks(run: Run) -> tuple[Blocks, AudioReader]:
    """Return the blocks of the catalog's features with the run's parameters, and their reader."""
    settings = run.config.extract
    kind = AudioReader if settings.device == "cpu" else TorchAudioReader
    reader = kind(settings.precision, settings.chroma, settings.minimum_seconds)
    key = fingerprint(REVISION, run.catalog.root, reader.parameters(), settings.minimum_seconds)
    return Blocks(run.store, f"features/{key}"), reader


def artwork_blocks(run: Run) -> tuple[Blocks, ArtworkReader]:
    """Return the blocks of the catalog's artwork in the run's size, and their reader."""
    pixels = run.config.extract.artwork_pixels
    return Blocks(
        run.store, f"artwork/{fingerprint(REVISION, run.catalog.root, pixels)}"
    ), ArtworkReader(pixels)


def audio_items(run: Run) -> pa.Table:
    """Return the audio files to read (item, uri, version), one per track."""
    return _versioned(run, _files(run, "audio"))


def artwork_items(run: Run) -> pa.Table:
    """Return the images to read (item, uri, version), each once even if several tracks share it."""
    unique = pc.unique(_files(run, ARTWORK).column("uri"))
    return _versioned(run, pa.table({"item": unique, "uri": unique}))


def _versioned(run: Run, files: pa.Table) -> pa.Table:
    """Append each file's version, null unless ``extract.notice_changes`` is on."""
    versions = (
        file_versions(files.column("uri"), run.catalog.root)
        if run.config.extract.notice_changes
        else pa.nulls(files.num_rows, pa.string())
    )
    return files.append_column("version", versions)


def _files(run: Run, column: str) -> pa.Table:
    """Return the tracks that have a file of this kind (item), and its URI (uri)."""
    tracks = run.catalog.tracks.select(["track_id", column]).filter(
        pc.is_valid(run.catalog.tracks.column(column))
    )
    return pa.table(
        {
            "item": tracks.column("track_id"),
            "uri": audio_uris(run.catalog.root, tracks.column(column)),
        }
    )


def _extract_all(run: Run, stage: Stage, audio: pa.Table, artwork: pa.Table) -> dict[str, Any]:
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
    images, image_reader = artwork_blocks(run)
    folders = {"extract": blocks.folder, ARTWORK: images.folder}
    folders |= {
        name: pretrained_blocks(run, name)[0].folder for name in run.config.extract.pretrained
    }
    run.store.write_json(stage.path(BLOCKS), folders)
    columns = stored_columns(run.config.extract.features)
    counts = extract_blocks(run, blocks, audio, columns, reader, "extract", compile_kernels, actors)
    index, errors = build_index(blocks, audio, columns, "extract")
    art_counts = extract_blocks(run, images, artwork, (ARTWORK,), image_reader, ARTWORK)
    tracks_of_images = _files(run, ARTWORK)
    art_index, art_errors = (
        expand_to_tracks(table, tracks_of_images)
        for table in build_index(images, artwork, (ARTWORK,), ARTWORK)
    )
    vectors = [extract_pretrained(run, name, audio) for name in run.config.extract.pretrained]

    complete = complete_tracks(index, columns)
    check_counts(
        "extract", tracks.num_rows, complete, pc.count_distinct(errors.column("track_id")).as_py()
    )
    indices = [index, art_index, *(each.index for each in vectors)]
    run.store.write_table(stage.path("index.parquet"), pa.concat_tables(indices), INDEX)
    all_errors = [errors, art_errors, *(each.errors for each in vectors)]
    run.store.write_table(stage.path("errors.parquet"), pa.concat_tables(all_errors), schema.ERRORS)
    run.store.write_table(stage.path(FILES), audio, ITEMS)
    lineage = fingerprint(blocks.folder, columns)
    all_counts = [counts, art_counts, *(each.counts for each in vectors)]
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
        **pretrained_counts(vectors),
        "bytes_written_now": sum(each["bytes"] for each in all_counts),
        "cpu_seconds_now": round(sum(each["cpu_seconds"] for each in all_counts), 2),
        "errors": stage.store.uri(stage.path("errors.parquet")),
    }


def _changes(run: Run, stage: Stage, audio: pa.Table, lineage: str) -> dict[str, int]:
    """Count the tracks that are new, changed and removed since the last comparable extraction.

    That is the last one of the same catalog with the same settings.
    """
    earlier = (
        other
        for other, record in complete_stages(run.store, "extract")
        if record.get("lineage") == lineage and other != stage
    )
    last = next(earlier, None)
    before = ITEMS.empty_table() if last is None else run.store.read_table(last.path(FILES), ITEMS)
    listed = pc.is_in(audio.column("item"), value_set=before.column("item").combine_chunks())
    unchanged = pc.is_in(row_keys(audio), value_set=row_keys(before).combine_chunks())
    kept = pc.sum(listed, min_count=0).as_py()
    return {
        "tracks_new": audio.num_rows - kept,
        "tracks_changed": kept - pc.sum(unchanged, min_count=0).as_py(),
        "tracks_removed": before.num_rows - kept,
    }


def places(run: Run, extracted: Outcome, modality: str) -> dict[str, tuple[str, int]]:
    """Return the part and row of each track that has a feature, "artwork" or pretrained vector."""
    if modality == "stft_halved" and "stft" in run.config.extract.features:
        modality = "stft"
    index = run.store.read_table(extracted.stage.path("index.parquet"), INDEX)
    rows = index.filter(pc.equal(index.column("modality"), modality)).to_pylist()
    return {row["track_id"]: (row["part"], row["row"]) for row in rows}
