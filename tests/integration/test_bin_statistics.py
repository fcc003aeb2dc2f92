"""``standardise: per_feature_bin``: statistics of the training's own rows, and the same numbers in
training and in serving."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import safetensors.torch
from small_run import Retrained

from musicrec.audio import extract_features, load_audio
from musicrec.pipeline.train import submodel_stage, submodel_training_run
from musicrec.serving.recommender import ARTISTS, Query, Recommender, save
from musicrec.specs.ensemble import EnsembleSpec
from musicrec.specs.submodel import SubmodelSpec
from musicrec.storage.store import Store
from musicrec.training.inputs import FeatureRows
from musicrec.training.predictions import NO_FOLD
from musicrec.training.training_run import EXAMPLES

pytestmark = pytest.mark.timeout(
    600
)  # the first test of a session waits for the retrain that all look at

NAME = "mfcc.large_rnn"


@pytest.fixture(scope="module", params=[NO_FOLD, 1])
def prepared(
    request: pytest.FixtureRequest, retrained: Retrained, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SubmodelSpec, pa.Table]:
    """A training that standardises each bin, ready to begin in a copy of the store: what it builds,
    and its rows."""
    done = retrained.done
    models = {
        name: dataclasses.replace(model, standardise="per_feature_bin")
        for name, model in done.run.config.models.items()
    }
    train = dataclasses.replace(done.run.config.train, folds=3)
    config = dataclasses.replace(done.run.config, models=models, train=train)
    store = Store(str(shutil.copytree(retrained.store, tmp_path_factory.mktemp("copy") / "store")))
    run = dataclasses.replace(done.run, config=config, store=store)
    stage = submodel_stage(run, NAME, request.param, done.extracted, done.targeted)
    submodel_training_run(run, NAME, request.param, stage, done.extracted, done.targeted)
    spec = SubmodelSpec.from_json(run.store.read_json(stage.path("spec.json")))
    return spec, run.store.read_table(stage.path("examples.parquet"), EXAMPLES)


def features(retrained: Retrained, track: str) -> np.ndarray:
    audio = next(row["audio"] for row in retrained.catalog.tracks if row["track_id"] == track)
    return extract_features(load_audio(str(Path(retrained.config.catalog) / audio)), ["mfcc"])[
        "mfcc"
    ]


def test_the_statistics_are_those_of_the_trainings_own_rows(
    retrained: Retrained, prepared: tuple[SubmodelSpec, pa.Table]
) -> None:
    spec, examples = prepared
    train = [row["track_id"] for row in examples.to_pylist() if row["split"] == "train"]
    assert 0 < len(train) < examples.num_rows
    frames = np.concatenate([features(retrained, track) for track in train], axis=1).astype(
        np.float64
    )
    mean, deviation = map(np.array, spec.bins)
    np.testing.assert_allclose(mean, frames.mean(axis=1), atol=0.01)
    np.testing.assert_allclose(deviation, frames.std(axis=1), rtol=1e-3)


def test_a_query_is_standardised_by_the_same_numbers(
    retrained: Retrained, prepared: tuple[SubmodelSpec, pa.Table], tmp_path: Path
) -> None:
    spec, examples = prepared
    rows = FeatureRows(
        spec,
        examples.column("part").to_pylist(),
        examples.column("row").to_numpy(),
        cache_bytes=1e9,
    )
    ensemble = EnsembleSpec(spec.outputs, ("mfcc",))
    artists = pa.Table.from_pylist(
        [{"artist_id": "a", "vector": [1.0] * spec.outputs}], schema=ARTISTS
    )
    weights = {
        name: safetensors.torch.save(each.build().state_dict())
        for name, each in ((NAME, spec), ("recommendation", ensemble))
    }
    save(
        tmp_path / "recommender",
        ensemble,
        [spec],
        weights,
        artists,
        chroma="librosa",
        segments=1,
        pretrained={},
    )
    recommender = Recommender.load(tmp_path / "recommender")
    for row in (0, examples.num_rows - 1):
        audio = next(
            track["audio"]
            for track in retrained.catalog.tracks
            if track["track_id"] == examples.column("track_id")[row].as_py()
        )
        served = recommender._inputs(
            Query(audio=str(Path(retrained.config.catalog) / audio)), None
        )[NAME]
        np.testing.assert_allclose(served, rows.read(np.array([row]), None)[0], atol=2e-3)
        assert (
            np.abs(served.numpy()).mean() < 2
        )  # of unit deviation, where MFCCs reach some hundreds
