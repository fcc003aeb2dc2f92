"""Vectors of a pretrained network, from recordings to a served recommendation."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from small_catalog import UserCatalog
from small_run import tiny_config

from musicrec import schema
from musicrec.config.jobs import Config
from musicrec.config.sections import SubmodelSettings
from musicrec.features.reader import read_stored
from musicrec.pipeline.assemble import write_recommender
from musicrec.pipeline.ensemble import ensemble
from musicrec.pipeline.extract import places
from musicrec.pipeline.retrain import Submodels, train_submodels
from musicrec.serving.query import Query
from musicrec.serving.recommender import Recommender

# The first test trains, on a machine that other tests keep busy.
pytestmark = pytest.mark.timeout(600)

MUSICNN = SubmodelSettings(
    architecture="mlp",
    feature="musicnn",
    standardise="per_feature_bin",
    patience=(1,),
    maximum_epochs=1,
)
BROKEN = "organ-0-0"


def with_musicnn(config: Config) -> Config:
    extract = dataclasses.replace(config.extract, pretrained=("musicnn",), maximum_failed_share=0.5)
    branches = dataclasses.replace(config.ensemble, branches=("musicnn", "lyrics"))
    models = {"musicnn": MUSICNN, "lyrics": config.models["lyrics"]}
    return dataclasses.replace(config, extract=extract, models=models, ensemble=branches)


@pytest.fixture(scope="module")
def trained(
    musicnn_package: None,
    ray_session: None,
    catalog_of_users: UserCatalog,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Submodels, str]:
    """Submodels of a catalog with one broken recording, and the catalog's root."""
    folder, catalog = tmp_path_factory.mktemp("pretrained"), catalog_of_users.copy()
    catalog.files[next(r["audio"] for r in catalog.tracks if r["track_id"] == BROKEN)] = b"noise"
    root = catalog.write(str(folder / "catalog"))
    plain = tiny_config(str(folder / "store"), root, epochs=1)
    return train_submodels(with_musicnn(plain)), root


def test_vectors_are_a_table_of_their_own_with_errors(trained: tuple[Submodels, str]) -> None:
    done, _ = trained
    run, record = done.run, done.extracted.record
    tracks = run.catalog.tracks.num_rows
    assert (record["pretrained_now"], record["pretrained_errors"]) == (tracks, 1)
    stored = places(run, done.extracted, "musicnn")
    assert len(stored) == tracks - 1
    assert BROKEN not in stored
    assert all("/pretrained/" in part for part, _ in stored.values())
    errors = run.store.read_table(done.extracted.stage.path("errors.parquet"), schema.ERRORS)
    assert {(row["track_id"], row["stage"], row["reason"]) for row in errors.to_pylist()} == {
        (BROKEN, "extract", "not_audio"),
        (BROKEN, "musicnn", "not_audio"),
    }


def test_a_second_run_reads_nothing_again(trained: tuple[Submodels, str]) -> None:
    done, _ = trained
    config = done.run.config
    # Other spectral features: another extraction, which finds the same vectors.
    extract = dataclasses.replace(config.extract, features=("mfcc",))
    again = train_submodels(dataclasses.replace(config, extract=extract), ["lyrics"])
    assert again.extracted.worked
    assert again.extracted.record["pretrained_now"] == 0
    stored = places(done.run, done.extracted, "musicnn")
    assert places(again.run, again.extracted, "musicnn") == stored


def test_a_served_recording_gets_the_stored_vector(
    trained: tuple[Submodels, str], tmp_path: Path
) -> None:
    done, root = trained
    outcome = ensemble(done.run, done.targeted, done.trained)
    write_recommender(tmp_path, done.run, done.targeted, done.trained.whole, outcome)
    # The folder has the network itself: a server needs no package of weights.
    assert (tmp_path / "pretrained" / "musicnn.safetensors").stat().st_size > 3_000_000
    recommender = Recommender.load(tmp_path)
    assert recommender.features == ["musicnn"]
    row = done.run.catalog.tracks.to_pylist()[3]
    audio = row["audio"] if "://" in row["audio"] else f"{root}/{row['audio']}"
    place = places(done.run, done.extracted, "musicnn")[row["track_id"]]
    ((stored, statistics),) = read_stored([place], "musicnn")
    by_audio, failures = recommender.embed_many([Query(audio=audio)])
    by_vector, _ = recommender.embed_many([Query()], [{"musicnn": (stored, statistics)}])
    assert failures == [None]
    np.testing.assert_allclose(by_audio, by_vector, atol=1e-5)
    spec = json.loads((tmp_path / "recommender.json").read_text())["submodels"]["musicnn"]
    assert len(spec["bins"][0]) == 200
