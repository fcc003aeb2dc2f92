"""Extraction of a user's files, in a folder and on S3.

Broken files become rows of the errors table; no row is lost, duplicated or read twice.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from killing_reader import KillsItsWorker, Raises
from small_catalog import UserCatalog, encoded, files_under, picture, remove, sound
from small_run import tiny_config

from musicrec import schema
from musicrec.config.jobs import Config
from musicrec.extraction import pipeline as extraction
from musicrec.extraction.index import INDEX
from musicrec.extraction.manifest import Blocks
from musicrec.extraction.pipeline import (
    Actors,
    BlocksFail,
    TooManyErrors,
    committed,
    outstanding,
    run_blocks,
)
from musicrec.extraction.rows import failures
from musicrec.pipeline.base import Outcome
from musicrec.pipeline.catalog import open_run
from musicrec.pipeline.extract import audio_blocks, extract
from musicrec.storage.store import Store, resolve

Places = tuple[str, str]
BROKEN = {
    "empty": "empty",
    "text": "not_audio",
    "half": "truncated",
    "short": "too_short",
    "missing": "not_found",
}


# What does not depend on the kind of storage.
in_a_folder = pytest.mark.parametrize("places", ["folder"], indirect=True)


@pytest.fixture
def catalog(catalog_of_users: UserCatalog) -> UserCatalog:
    """Four artists of all splits, eight tracks; two of the artists have artwork."""
    return catalog_of_users.of_artists("organ-0", "organ-3", "fiddle-0", "fiddle-2")


def with_broken_files(catalog: UserCatalog) -> UserCatalog:
    """Six more tracks: five that cannot be used, and a FLAC file that is named .mp3."""
    mp3 = next(content for name, content in catalog.files.items() if name.endswith(".mp3"))
    catalog.files |= {
        "audio/empty.mp3": b"",
        "audio/text.mp3": b"This is a text and no music at all.\n" * 100,
        "audio/half.mp3": mp3[: len(mp3) // 2],
        "audio/short.mp3": encoded(sound("organ", [1], seconds=1.0), "mp3"),
        "audio/renamed.mp3": encoded(sound("organ", [2]), "flac"),
    }
    catalog.tracks += [
        catalog.tracks[0] | {"track_id": name, "audio": f"audio/{name}.mp3"}
        for name in (*BROKEN, "renamed")
    ]
    return catalog


def configured(places: Places, **settings: Any) -> Config:
    """Return the tiny run with other extraction settings, for a catalog with many broken files."""
    config = tiny_config(*places)
    return dataclasses.replace(
        config,
        extract=dataclasses.replace(config.extract, **({"maximum_failed_share": 0.5} | settings)),
    )


def extracted(config: Config) -> Outcome:
    outcome = extract(open_run(config))
    record = outcome.record
    assert record["rows_in"] == record["rows_out"] + record["rows_in_errors"]
    return outcome


def errors_of(outcome: Outcome) -> dict[str, dict[str, str]]:
    rows = outcome.stage.store.read_table(
        outcome.stage.path("errors.parquet"), schema.ERRORS
    ).to_pylist()
    assert len(rows) == len({row["track_id"] for row in rows})
    return {row["track_id"]: row for row in rows}


def extracted_tracks(outcome: Outcome, modality: str) -> set[str]:
    rows = outcome.stage.store.read_table(outcome.stage.path("index.parquet"), INDEX).to_pylist()
    tracks = [row["track_id"] for row in rows if row["modality"] == modality]
    assert len(tracks) == len(set(tracks))
    return set(tracks)


def test_broken_files_are_rows_of_the_errors_table(places: Places, catalog: UserCatalog) -> None:
    good = catalog.track_ids()
    with_broken_files(catalog).write(places[1])
    outcome = extracted(configured(places))
    errors = errors_of(outcome)
    assert {track: row["reason"] for track, row in errors.items()} == BROKEN
    for track, row in errors.items():
        assert row["stage"] == "extract"
        assert f"{places[1]}/audio/{track}.mp3" in row["detail"]
    assert (
        extracted_tracks(outcome, "mfcc") == extracted_tracks(outcome, "mel") == good | {"renamed"}
    )
    assert (outcome.record["rows_in"], outcome.record["rows_out"]) == (len(good) + 6, len(good) + 1)
    before = files_under(places[0])
    assert not extracted(configured(places)).worked  # errors are not read again by themselves
    assert files_under(places[0]) == before


@in_a_folder
def test_a_broken_image_does_not_lose_its_track(places: Places, catalog: UserCatalog) -> None:
    catalog.files["artwork/organ-0.png"] = catalog.files["artwork/organ-0.png"][:60]
    catalog.write(places[1])
    outcome = extracted(configured(places))
    errors = errors_of(outcome)
    assert {(row["stage"], row["reason"]) for row in errors.values()} == {("artwork", "unreadable")}
    assert set(errors) == {"organ-0-0", "organ-0-1"}  # both tracks show this image
    assert (outcome.record["rows_in_errors"], outcome.record["artwork_errors"]) == (0, 2)
    assert extracted_tracks(outcome, "mel") == catalog.track_ids()
    assert extracted_tracks(outcome, "artwork") == {"fiddle-0-0", "fiddle-0-1"}


@in_a_folder
def test_too_many_errors_stop_the_run(places: Places, catalog: UserCatalog) -> None:
    with_broken_files(catalog).write(places[1])
    with pytest.raises(
        TooManyErrors,
        match=r"of 14 rows failed \([a-z_]+ \d.*\), more than extract\.maximum_failed_share = 0\.1 "
        r"allows\. See python jobs/errors\.py --store ",
    ):
        extract(open_run(configured(places, maximum_failed_share=0.1)))
    assert not [
        name for name in files_under(places[0], "extract") if name.endswith("_SUCCESS.json")
    ]
    outcome = extracted(
        configured(places)
    )  # the ceiling raised, the run goes on with what was read
    assert set(errors_of(outcome)) == set(BROKEN)


@in_a_folder
def test_repaired_files_are_read_again_on_request(places: Places, catalog: UserCatalog) -> None:
    with_broken_files(catalog).write(places[1])
    extracted(configured(places))
    for number, name in enumerate(BROKEN):
        catalog.files[f"audio/{name}.mp3"] = encoded(sound("fiddle", [3, number]), "mp3")
    catalog.files["audio/short.mp3"] = b"still no music"
    catalog.write(places[1])
    outcome = extracted(configured(places, retry_errors=True))
    assert outcome.record["rows_extracted_now"] == len(BROKEN)
    assert {track: row["reason"] for track, row in errors_of(outcome).items()} == {
        "short": "not_audio"
    }
    assert extracted_tracks(outcome, "mel") == catalog.track_ids() - {"short"}

    catalog.files["audio/short.mp3"] = encoded(sound("fiddle", [4]), "mp3")
    catalog.write(places[1])
    assert extracted(configured(places, retry_errors=True)).record["rows_extracted_now"] == 1
    healed = extracted(configured(places, retry_errors=True))
    assert not healed.worked
    assert errors_of(healed) == {}


def test_only_a_feature_added_later_is_computed(places: Places, catalog: UserCatalog) -> None:
    catalog.write(places[1])
    extracted(configured(places, features=("mfcc",), artwork_pixels=32))
    before = files_under(places[0], "features")
    outcome = extracted(configured(places, features=("mel", "mfcc")))
    after = files_under(places[0], "features")
    assert {name: after[name] for name in before} == before
    columns = [
        pa.parquet.read_schema(path, filesystem=system).names
        for system, path in new_parts(places[0], before, after)
    ]
    assert columns
    assert all("mel" in names and "mfcc" not in names for names in columns)
    assert outcome.record["pictures_now"] == 0
    assert (
        extracted_tracks(outcome, "mel") == extracted_tracks(outcome, "mfcc") == catalog.track_ids()
    )


def new_parts(
    root: str, before: dict[str, Any], after: dict[str, Any]
) -> list[tuple[pa.fs.FileSystem, str]]:
    system, base = resolve(root)
    return [
        (system, f"{base}/{name}")
        for name in sorted(after.keys() - before.keys())
        if "/parts/" in name
    ]


def test_a_deleted_file_does_not_lose_its_extracted_rows(
    places: Places, catalog: UserCatalog
) -> None:
    catalog.write(places[1])
    extracted(configured(places))
    remove(places[1], catalog.tracks[0]["audio"])
    catalog.tracks.append(catalog.tracks[1] | {"track_id": "again"})
    catalog.write(places[1])
    remove(places[1], catalog.tracks[0]["audio"])
    outcome = extracted(configured(places))
    assert outcome.record["rows_extracted_now"] == 1
    assert errors_of(outcome) == {}


def values_of(outcome: Outcome, track: str) -> list[bytes]:
    """Return the stored spectrograms of a track."""
    store = outcome.stage.store
    index = store.read_table(outcome.stage.path("index.parquet"), INDEX).to_pylist()
    rows = [row for row in index if row["track_id"] == track and row["modality"] in ("mel", "mfcc")]
    assert len(rows) == 2
    places = [
        (row["part"].removeprefix(f"{store.root}/"), row["row"], row["modality"]) for row in rows
    ]
    return [
        store.read_table(part, pa.schema([(name, pa.large_binary())])).column(name)[row].as_py()
        for part, row, name in places
    ]


def test_a_changed_file_is_read_again_and_replaces_its_old_rows(
    places: Places, catalog: UserCatalog
) -> None:
    changed = next(row for row in catalog.tracks if row["track_id"] == "fiddle-0-1")
    catalog.write(places[1])
    first = extracted(configured(places))
    catalog.files[changed["audio"]] = encoded(
        sound("fiddle", [11], seconds=2.5), changed["audio"].rpartition(".")[2]
    )
    catalog.files["artwork/organ-0.png"] = picture([12], size=50)
    catalog.write(places[1])
    second = extracted(configured(places))
    assert (second.record["rows_extracted_now"], second.record["pictures_now"]) == (1, 1)
    assert values_of(second, "fiddle-0-1") != values_of(first, "fiddle-0-1")
    assert values_of(second, "fiddle-0-0") == values_of(first, "fiddle-0-0")
    catalog.files[changed["audio"]] = b"no music any more"
    catalog.write(places[1])
    third = extracted(configured(places))
    assert third.record["rows_extracted_now"] == 1
    assert {track: row["reason"] for track, row in errors_of(third).items()} == {
        "fiddle-0-1": "not_audio"
    }
    assert extracted_tracks(third, "mel") == catalog.track_ids() - {"fiddle-0-1"}
    assert not extracted(configured(places)).worked
    # The last version that was read stays in use,
    assert not extracted(configured(places, notice_changes=False)).worked
    remove(places[1], catalog.tracks[0]["audio"])
    # also of a file that is gone.
    assert not extracted(configured(places)).worked


def assigned(folder: Path, rows: int, rows_per_block: int) -> tuple[Blocks, pa.Table]:
    blocks = Blocks(Store(str(folder)), "features/key")
    names = [f"track-{number}" for number in range(rows)]
    items = pa.table({"item": names, "uri": [f"/music/{name}.mp3" for name in names]})
    return blocks, blocks.extend(items, ["value"], rows_per_block)


def test_rows_that_kill_or_hang_their_worker_become_errors(
    ray_session: None, tmp_path: Path
) -> None:
    blocks, manifest = assigned(tmp_path, rows=12, rows_per_block=4)
    reader = KillsItsWorker("track-5", "track-6")
    counts = run_blocks(
        blocks, manifest, reader, "extract", maximum_failed_share=0.2, seconds_per_file=3
    )
    assert (counts["rows"], counts["errors"]) == (12, 2)
    outcomes = blocks.outcomes()
    assert outcomes.column("item").to_pylist() == manifest.column("item").to_pylist()
    killed, slow = failures(outcomes).to_pylist()
    assert (killed["item"], killed["reason"]) == ("track-5", "killed_worker")
    assert killed["detail"].startswith(
        "/music/track-5.mp3: the process that read it crashed, or hung"
    )
    assert (slow["item"], slow["reason"]) == ("track-6", "timed_out")
    assert slow["detail"] == "/music/track-6.mp3: not read within 3 s (extract.seconds_per_file)"
    assert (
        run_blocks(
            blocks, manifest, reader, "extract", maximum_failed_share=0.2, seconds_per_file=3
        )["rows"]
        == 0
    )


def test_a_row_at_which_the_reader_raises_becomes_an_error(
    ray_session: None, tmp_path: Path
) -> None:
    blocks, manifest = assigned(tmp_path, rows=12, rows_per_block=4)
    counts = run_blocks(
        blocks,
        manifest,
        Raises(ValueError("a fault"), "track-5"),
        "extract",
        maximum_failed_share=0.1,
    )
    assert (counts["rows"], counts["errors"]) == (12, 1)
    (failed,) = failures(blocks.outcomes()).to_pylist()
    assert (failed["item"], failed["reason"], failed["detail"]) == (
        "track-5",
        "reader_failed",
        "/music/track-5.mp3: ValueError: a fault",
    )


@pytest.mark.parametrize("actors", [None, Actors(count=1, cpus=1, gpus=0)], ids=["tasks", "actors"])
def test_a_failure_of_every_block_stops_the_run(
    actors: Actors | None,
    ray_session: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(extraction, "FAILED_IN_A_ROW", 3)
    monkeypatch.setattr(extraction, "FAILED_IN_A_ROW_PER_CPU", 1)
    blocks, manifest = assigned(tmp_path, rows=40, rows_per_block=2)
    error = OSError("AWS Error ACCESS_DENIED: s3://key:secret@bucket")
    with pytest.raises(
        BlocksFail,
        match=r"extract: 3 blocks in a row failed, the last with OSError: AWS Error ACCESS_DENIED",
    ):
        run_blocks(
            blocks, manifest, Raises(error), "extract", maximum_failed_share=0.5, actors=actors
        )
    output = capsys.readouterr().out
    assert output.count("a block failed") == 3
    assert "key:secret" not in output
    assert blocks.outcomes().num_rows == 0
    assert (
        run_blocks(
            blocks,
            manifest,
            KillsItsWorker("", ""),
            "extract",
            maximum_failed_share=0.0,
            actors=actors,
        )["rows"]
        == 40
    )


@pytest.mark.parametrize("actors", [None, Actors(count=1, cpus=1, gpus=0)], ids=["tasks", "actors"])
def test_a_long_manifest_takes_several_executions(
    actors: Actors | None, ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, count in {
        "EXECUTION_BLOCKS": 5,
        "EXECUTION_BLOCKS_PER_CPU": 1,
        "GROUP_BLOCKS": 2,
        "BLOCKS_AHEAD": 1,
    }.items():
        monkeypatch.setattr(extraction, name, count)
    blocks, manifest = assigned(tmp_path, rows=23, rows_per_block=2)
    summaries = list(
        committed(
            blocks, outstanding(blocks, manifest), KillsItsWorker("none", "none"), "extract", actors
        )
    )
    assert sorted(summary["block"] for summary in summaries) == sorted(
        set(manifest.column("block").to_pylist())
    )
    assert sorted(summary["rows"] for summary in summaries) == [1] + [2] * 11
    assert blocks.outcomes().column("item").to_pylist() == manifest.column("item").to_pylist()


def test_a_block_lost_with_its_driver_is_read_by_the_next(
    places: Places, catalog: UserCatalog
) -> None:
    catalog.write(places[1])
    config = configured(places)
    run = open_run(config)
    first = extracted(config)
    blocks, _ = audio_blocks(run)
    lost = sorted(blocks.done())[0]
    system, base = resolve(places[0])
    system.delete_file(f"{base}/{blocks.folder}/parts/{lost}.parquet")
    system.delete_dir(f"{base}/{blocks.folder}/outcomes")
    system.delete_file(f"{base}/{first.stage.path('_SUCCESS.json')}")
    again = extracted(config)
    assert again.record["rows_extracted_now"] == 4
    assert extracted_tracks(again, "mel") == catalog.track_ids()
