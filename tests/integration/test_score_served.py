"""Embeddings as a recommender serves them, from stored features or audio, over all windows."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_catalog import encoded, sound
from small_run import Retrained

from musicrec import schema
from musicrec.pipeline.assemble import write_recommender
from musicrec.pipeline.base import Outcome, Run
from musicrec.pipeline.catalog import open_run
from musicrec.pipeline.score_served import embed_tracks
from musicrec.serving.query_table import as_query, of_catalog
from musicrec.serving.recommender import Recommender
from musicrec.training.predictions import read_predictions

# The first test of a session waits for the retrain that all tests use.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def recommender(retrained: Retrained, tmp_path: Path) -> Recommender:
    done = retrained.done
    write_recommender(
        tmp_path / "recommender", done.run, done.targeted, done.models, done.stacked.ensemble
    )
    return Recommender.load(tmp_path / "recommender")


def vectors(run: Run, served: Outcome, tracks: list[str]) -> np.ndarray:
    return read_predictions(run.store, served.record["predictions"], tracks, 8)


def test_stored_features_give_the_predictions_without_the_audio(
    retrained: Retrained, recommender: Recommender
) -> None:
    run, ensemble = retrained.done.run, retrained.done.stacked.ensemble
    tracks = sorted(retrained.catalog.track_ids())
    audio = Path(retrained.config.catalog) / "audio"
    audio.rename(audio.with_name("elsewhere"))
    try:
        served = embed_tracks(
            run, retrained.done.extracted, recommender, "as it was trained", tracks
        )
    finally:
        audio.with_name("elsewhere").rename(audio)
    assert (
        served.record["rows_in"],
        served.record["rows_out"],
        served.record["rows_in_errors"],
    ) == (
        len(tracks),
        len(tracks),
        0,
    )
    predicted = read_predictions(run.store, ensemble.record["predictions"], tracks, 8)
    np.testing.assert_allclose(vectors(run, served, tracks), predicted, atol=1e-5)
    assert not embed_tracks(
        run, retrained.done.extracted, recommender, "as it was trained", tracks
    ).worked
    # A file that changed under its name makes another extraction of the same tables.
    changed = dataclasses.replace(
        retrained.done.extracted, stage=run.store.stage("extract", "of-changed-files"), record={}
    )
    assert embed_tracks(run, changed, recommender, "as it was trained", tracks).worked


def test_a_longer_track_is_embedded_over_its_windows_and_a_broken_one_is_an_error(
    retrained: Retrained, recommender: Recommender, tmp_path: Path
) -> None:
    catalog = retrained.catalog.copy()
    test = next(row for row in catalog.tracks if row["split"] == "test")
    long = np.concatenate([sound("organ", [5], seconds=30.0), sound("fiddle", [5], seconds=20.0)])
    catalog.files |= {"audio/long.flac": encoded(long, "flac"), "audio/broken.flac": b"no music"}
    catalog.tracks += [
        test | {"track_id": name, "audio": f"audio/{name}.flac"} for name in ("long", "broken")
    ]
    store = shutil.copytree(retrained.store, tmp_path / "store")
    run = open_run(
        dataclasses.replace(
            retrained.config, catalog=catalog.write(str(tmp_path / "catalog")), store=str(store)
        )
    )
    tracks = [test["track_id"], "long", "broken"]
    embeddings = {}
    # Nothing of this catalog was extracted.
    unread = dataclasses.replace(retrained.done.extracted, record={})
    for segments in (1, 2):
        recommender.segments = segments
        served = embed_tracks(run, unread, recommender, "any", tracks)
        assert (
            served.record["rows_out"],
            served.record["rows_in_errors"],
            served.record["segments"],
        ) == (2, 1, segments)
        (error,) = run.store.read_table(
            served.stage.path("errors.parquet"), schema.ERRORS
        ).to_pylist()
        assert (error["track_id"], error["stage"], error["reason"]) == (
            "broken",
            "listen",
            "not_audio",
        )
        embeddings[segments] = vectors(run, served, tracks)
        queries = {row["item"]: as_query(row) for row in of_catalog(run.catalog).to_pylist()}
        np.testing.assert_allclose(
            embeddings[segments][:2],
            [recommender.embed(queries[track]) for track in tracks[:2]],
            atol=1e-5,
        )
    # A short track has one window.
    np.testing.assert_allclose(embeddings[1][0], embeddings[2][0], atol=1e-5)
    assert np.abs(embeddings[1][1] - embeddings[2][1]).max() > 1e-3
