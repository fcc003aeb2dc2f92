"""A run with recordings that say nothing: no model trains on them, and every row is counted."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_catalog import RATE, SECONDS, UserCatalog, encoded
from small_run import tiny_config

from musicrec.config.sections import SubmodelSettings
from musicrec.features.reader import read_stored
from musicrec.pipeline.base import Run
from musicrec.pipeline.retrain import train_submodels
from musicrec.pipeline.train import submodel_stage
from musicrec.pipeline.uninformative import uninformative, uninformative_sentence
from musicrec.pipeline.vectors import vector_places
from musicrec.specs.submodel import SubmodelSpec
from musicrec.storage.record import DamagedError
from musicrec.storage.store import fingerprint
from musicrec.training.predictions import NO_FOLD
from musicrec.training.training_run import EXAMPLES

SAMPLES = round(SECONDS * RATE)
TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(SAMPLES) / RATE)
STATISTICS = SubmodelSettings(
    architecture="mlp",
    feature="statistics",
    standardise="per_feature_bin",
    patience=(1,),
    maximum_epochs=1,
)
# A training, a validation and a test track.
SAY_NOTHING = {"organ-0-0": "silent", "fiddle-2-1": "constant", "organ-3-1": "silent"}


def written_records(run: Run, stage: str) -> list[Path]:
    return sorted(Path(run.store.root, stage).glob("*/_SUCCESS.json"))


@pytest.mark.timeout(300)
def test_recordings_that_say_nothing_are_no_training_rows(
    ray_session: None, catalog_of_users: UserCatalog, tmp_path: Path
) -> None:
    catalog = catalog_of_users.copy()
    for row in catalog.tracks:
        if row["track_id"] in SAY_NOTHING:
            is_silent = SAY_NOTHING[row["track_id"]] == "silent"
            row["audio"] = f"audio/{row['track_id']}-nothing.flac"
            catalog.files[row["audio"]] = encoded(TONE * (not is_silent), "flac")
    root = catalog.write(str(tmp_path / "catalog"))
    config = tiny_config(str(tmp_path / "store"), root, epochs=1)
    config = dataclasses.replace(config, models={**config.models, "statistics": STATISTICS})
    done = train_submodels(config)
    run, extracted = done.run, done.extracted
    assert uninformative(run, extracted) == SAY_NOTHING
    sentence = "Recordings that say nothing, and so no training rows: 2 silent, 1 constant"
    assert uninformative_sentence(run, extracted) == sentence

    trained = done.trained.whole
    for name in ("mfcc.large_rnn", "statistics"):
        outcome, record = trained[name], trained[name].record
        examples = run.store.read_table(outcome.stage.path("examples.parquet"), EXAMPLES)
        left_out = {*catalog.track_ids()} - {*examples.column("track_id").to_pylist()}
        assert left_out == {"organ-0-0", "fiddle-2-1"}  # the test track is predicted
        assert (record["rows_silent"], record["rows_constant"]) == (1, 1)
        counted = ("rows_out", "rows_incomplete", "rows_silent", "rows_constant")
        assert record["rows_in"] == len(catalog.tracks) == sum(record[each] for each in counted)
    assert "rows_silent" not in trained["lyrics"].record  # it reads no recordings

    # The vectors were computed from what is extracted, and standardised on the training rows.
    stage = trained["statistics"].stage
    spec = SubmodelSpec.from_json(run.store.read_json(stage.path("spec.json")))
    assert spec.computed_from == ("mel", "mfcc")
    examples = run.store.read_table(stage.path("examples.parquet"), EXAMPLES).to_pylist()
    train = [(row["part"], row["row"]) for row in examples if row["split"] == "train"]
    vectors = np.stack([vector[:, 0] for vector, _ in read_stored(train, "statistics")])
    np.testing.assert_allclose(spec.bins[0], vectors.mean(axis=0), rtol=1e-3, atol=1e-3)

    # A damaged file of vectors is found when it is read, and written again by the next run.
    damaged = Path(train[0][0])
    whole = damaged.read_bytes()
    middle = len(whole) // 2
    damaged.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    with pytest.raises(DamagedError, match="is damaged"):
        read_stored(train, "statistics")
    assert vector_places(run, extracted, "statistics")[examples[0]["track_id"]] == (
        examples[0]["part"],
        examples[0]["row"],
    )
    assert damaged.read_bytes() == whole
    (record,) = [json.loads(path.read_text()) for path in written_records(run, "vectors")]
    assert record["files_now"] == 1


def test_keys_are_as_before_where_every_recording_says_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config("store", "catalog")
    store = SimpleNamespace(stage=lambda name, key: key)
    run = SimpleNamespace(config=config, store=store, left_out=())
    outcome = SimpleNamespace(stage=SimpleNamespace(key="k"))

    def key(name: str, reasons: dict[str, str]) -> str:
        monkeypatch.setattr("musicrec.pipeline.train.uninformative", lambda *_: reasons)
        return submodel_stage(run, name, NO_FOLD, outcome, outcome)

    model = dataclasses.asdict(config.models["mfcc.large_rnn"])
    before = fingerprint(1, "mfcc.large_rnn", "k", "k", model, 0, [], {})
    assert key("mfcc.large_rnn", {}) == before != key("mfcc.large_rnn", {"t": "silent"})
    assert key("lyrics", {}) == key("lyrics", {"t": "silent"})
