"""Hostile files through the whole extraction: a row for each of them, in the index or in the errors
table, and sound ones untouched."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hostile_inputs import hostile_input
from reading import SOUND, read
from samples import AUDIO, PICTURES
from small_catalog import UserCatalog
from small_run import tiny_config

from musicrec import schema
from musicrec.extraction.index import INDEX
from musicrec.pipeline.catalog import open_run
from musicrec.pipeline.extract import extract

NUMBERS = range(3_000, 3_052)  # four of each form


def test_hostile_files_cost_their_own_rows(
    ray_session: None, catalog_of_users: UserCatalog, tmp_path: Path
) -> None:
    catalog = catalog_of_users.of_artists("organ-0", "organ-3", "fiddle-0", "fiddle-2")
    good = catalog.track_ids()
    expected = {"extract": {}, "artwork": {}}
    for hostile in map(hostile_input, NUMBERS):
        if hostile.form not in (*AUDIO, *PICTURES):
            continue
        name = f"hostile-{hostile.number}"
        track = catalog.tracks[0] | {"track_id": name}
        stage, column = ("extract", "audio") if hostile.form in AUDIO else ("artwork", "artwork")
        catalog.files[f"{column}/{name}.{hostile.form}"] = hostile.content
        catalog.tracks.append(track | {column: f"{column}/{name}.{hostile.form}"})
        expected[stage][name] = read(hostile, tmp_path).outcome
    config = tiny_config(str(tmp_path / "store"), catalog.write(str(tmp_path / "catalog")))
    settings = dataclasses.replace(config.extract, minimum_seconds=0.5, maximum_failed_share=1.0)
    outcome = extract(open_run(dataclasses.replace(config, extract=settings)))

    errors = outcome.stage.store.read_table(
        outcome.stage.path("errors.parquet"), schema.ERRORS
    ).to_pylist()
    index = outcome.stage.store.read_table(outcome.stage.path("index.parquet"), INDEX).to_pylist()
    for stage, modality in (("extract", "mel"), ("artwork", "artwork")):
        found = {row["track_id"]: row["reason"] for row in errors if row["stage"] == stage}
        refused = {track: reason for track, reason in expected[stage].items() if reason != SOUND}
        assert found == refused
        assert refused
        extracted = {row["track_id"] for row in index if row["modality"] == modality}
        assert {track for track, reason in expected[stage].items() if reason == SOUND} <= extracted
    record = outcome.record
    assert record["rows_in"] == len(catalog.tracks) == record["rows_out"] + record["rows_in_errors"]
    assert good <= {row["track_id"] for row in index if row["modality"] == "mel"}
