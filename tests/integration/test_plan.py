"""The dry run beside what then happened, and what can be seen of a store: status and errors, of a
run that ended and one that stopped."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

import pytest
from killing_reader import KillsItsWorker
from small_catalog import UserCatalog, encoded, files_under, sound
from small_run import tiny_config

from musicrec.config.jobs import PlanConfig
from musicrec.dry_run.run import Plan, plan, show_plan
from musicrec.extraction.pipeline import TooManyErrors
from musicrec.inspection.errors import failed_rows, grouped, show_errors
from musicrec.inspection.status import show_status, stage_folders, status_of
from musicrec.pipeline.catalog import open_run
from musicrec.pipeline.extract import audio_blocks, extract
from musicrec.storage.store import Store, resolve

Places = tuple[str, str]


def planned(places: Places, **settings: object) -> tuple[Plan, PlanConfig]:
    config = PlanConfig(**vars(tiny_config(*places)) | settings)
    return plan(open_run(config), config), config


def test_plan_and_outcome_agree(
    places: Places, catalog_of_users: UserCatalog, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = catalog_of_users.copy()
    catalog.files["audio/gone.mp3"] = encoded(sound("fiddle", [9]), "mp3")[:40]
    catalog.tracks += [
        catalog.tracks[0] | {"track_id": name, "audio": f"audio/{name}.mp3"}
        for name in ("gone", "absent")
    ]
    catalog.write(places[1])
    expected, config = planned(places, sample=100, price_cpu_hour=2.0, price_gb_month=1.0)
    audio, artwork = expected.extraction
    assert (audio.rows, audio.sampled, artwork.rows) == (26, 26, 6)
    assert audio.failed["not_found"] == audio.missing == 1
    assert sum(audio.failed.values()) == 2
    assert files_under(places[0], "features") == {}  # nothing was committed
    assert {each.model: each.examples for each in expected.training} == {
        "mfcc.large_rnn": 18,
        "lyrics": 10,
    }
    slots = audio.slot_hours + artwork.slot_hours
    assert expected.cost["extraction"] == pytest.approx(2 * slots)
    assert expected.cluster_hours == pytest.approx(slots / 2)
    show_plan(expected)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["extraction"][0]["rows"] == 26

    run = open_run(
        dataclasses.replace(
            config, extract=dataclasses.replace(config.extract, maximum_failed_share=0.5)
        )
    )
    record = extract(run).record
    assert record["rows_extracted_now"] == audio.rows - audio.done
    assert record["pictures_now"] == artwork.rows - artwork.done
    assert record["rows_in_errors"] == sum(audio.failed.values())
    assert audio.bytes_written + artwork.bytes_written == pytest.approx(
        record["bytes_written_now"], rel=0.3
    )

    (folder,) = stage_folders(Store(places[0]))
    status = status_of(folder)
    assert (status.stage, status.state, status.rows_in, status.rows_in_errors) == (
        "extract",
        "complete",
        26,
        2,
    )
    again, _ = planned(places, trainings=False)
    assert [
        (part.rows, part.done, part.sampled, part.bytes_written) for part in again.extraction
    ] == [(26, 26, 0, 0), (6, 6, 0, 0)]


def test_the_planned_cpu_time_is_what_extraction_takes(
    tmp_path: Path, ray_session: None, catalog_of_users: UserCatalog
) -> None:
    catalog = catalog_of_users.copy()
    catalog.files["audio/long.mp3"] = encoded(sound("organ", [7], seconds=30.0), "mp3")
    tracks = [row | {"audio": "audio/long.mp3", "artwork": ""} for row in catalog.tracks]
    catalog.tracks = [
        row | {"track_id": f"{row['track_id']}-{copy}"} for copy in range(4) for row in tracks
    ]
    places = str(tmp_path / "store"), catalog.write(str(tmp_path / "catalog"))
    expected, config = planned(places, sample=24, trainings=False)
    record = extract(open_run(config)).record
    assert record["rows_extracted_now"] == 96
    assert 3600 * expected.extraction[0].cpu_hours == pytest.approx(
        record["cpu_seconds_now"], rel=0.3
    )
    assert expected.extraction[0].bytes_written == pytest.approx(
        record["bytes_written_now"], rel=0.3
    )
    assert expected.extraction[0].bytes_read == 96 * len(catalog.files["audio/long.mp3"])


def test_a_file_that_ends_its_worker_or_hangs_in_it_is_unreadable(
    tmp_path: Path,
    ray_session: None,
    catalog_of_users: UserCatalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = str(tmp_path / "store"), catalog_of_users.write(str(tmp_path / "catalog"))
    fatal, endless, *_ = sorted(catalog_of_users.track_ids())
    monkeypatch.setattr(
        "musicrec.dry_run.run.audio_blocks",
        lambda run: (audio_blocks(run)[0], KillsItsWorker(fatal, endless)),
    )
    settings = dataclasses.replace(
        tiny_config(*places).extract, seconds_per_file=3, rows_per_block=2
    )
    expected, _ = planned(places, sample=100, trainings=False, extract=settings)
    audio, artwork = expected.extraction
    assert (audio.sampled, audio.failed) == (24, {"killed_worker": 1, "timed_out": 1})
    assert artwork.failed == {}


def test_a_run_that_stopped_shows_how_far_it_came_and_why(
    places: Places, catalog_of_users: UserCatalog, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = catalog_of_users.copy()
    for row in catalog.tracks[:8]:
        catalog.files[row["audio"]] = b"no music"
    catalog.write(places[1])
    config = tiny_config(*places)
    with pytest.raises(TooManyErrors):
        extract(open_run(config))
    store = Store(places[0])
    (folder,) = stage_folders(store)
    status = status_of(folder)
    assert (status.stage, status.state, status.rows_out) == ("extract", "interrupted", None)
    assert status.where.startswith("extract: ")
    assert status.where.endswith(" of 24 rows")
    show_status(store)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["state"] == "interrupted"

    groups = grouped(failed_rows(store), examples=1)
    assert {group.stage for group in groups} == {"extract"}
    assert {group.reason for group in groups} == {"not_audio"}
    assert all(len(group.examples) == 1 for group in groups)
    out = f"{places[0]}/errors.csv"
    show_errors(store, 1, out)
    filesystem, path = resolve(out)
    with filesystem.open_input_file(path) as stream:
        rows = list(csv.DictReader(io.TextIOWrapper(io.BytesIO(stream.read()))))
    assert len(rows) == sum(group.count for group in groups) > 0
    assert {row["track_id"] for row in rows} <= {row["track_id"] for row in catalog.tracks[:8]}
