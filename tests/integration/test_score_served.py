"""What a recommender answers as it is served: from stored features or from sound, over its windows; each track is answered or an error."""

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

pytestmark = pytest.mark.timeout(
    600
)  # the first test of a session waits for the retrain that all look at


@pytest.fixture
def recommender(retrained: Retrained, tmp_path: Path) -> Recommender:
    done = retrained.done
    write_recommender(
        tmp_path / "recommender", done.run, done.targeted, done.models, done.stacked.ensemble
    )
    return Recommender.load(tmp_path / "recommender")


def vectors(run: Run, heard: Outcome, tracks: list[str]) -> np.ndarray:
    return read_predictions(run.store, heard.record["predictions"], tracks, 8)


def test_what_was_extracted_is_answered_as_it_was_predicted_without_its_sound(
    retrained: Retrained, recommender: Recommender
) -> None:
    run, ensemble = retrained.done.run, retrained.done.stacked.ensemble
    tracks = sorted(retrained.catalog.track_ids())
    audio = Path(retrained.config.catalog) / "audio"
    audio.rename(audio.with_name("elsewhere"))
    try:
        heard = embed_tracks(
            run, retrained.done.extracted, recommender, "as it was trained", tracks
        )
    finally:
        audio.with_name("elsewhere").rename(audio)
    assert (heard.record["rows_in"], heard.record["rows_out"], heard.record["rows_in_errors"]) == (
        len(tracks),
        len(tracks),
        0,
    )
    predicted = read_predictions(run.store, ensemble.record["predictions"], tracks, 8)
    np.testing.assert_allclose(vectors(run, heard, tracks), predicted, atol=1e-5)
    assert not embed_tracks(
        run, retrained.done.extracted, recommender, "as it was trained", tracks
    ).worked
    # A file that has changed under its name makes another extraction of the same tables.
    changed = dataclasses.replace(
        retrained.done.extracted, stage=run.store.stage("extract", "of-changed-files"), record={}
    )
    assert embed_tracks(run, changed, recommender, "as it was trained", tracks).worked


def test_a_longer_track_is_heard_over_its_windows_and_a_broken_one_is_an_error(
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
    found, unread = (
        {},
        dataclasses.replace(retrained.done.extracted, record={}),
    )  # nothing of this catalog was extracted
    for segments in (1, 2):
        recommender.segments = segments
        heard = embed_tracks(run, unread, recommender, "any", tracks)
        assert (
            heard.record["rows_out"],
            heard.record["rows_in_errors"],
            heard.record["segments"],
        ) == (2, 1, segments)
        (error,) = run.store.read_table(
            heard.stage.path("errors.parquet"), schema.ERRORS
        ).to_pylist()
        assert (error["track_id"], error["stage"], error["reason"]) == (
            "broken",
            "listen",
            "not_audio",
        )
        found[segments] = vectors(run, heard, tracks)
        queries = {row["item"]: as_query(row) for row in of_catalog(run.catalog).to_pylist()}
        np.testing.assert_allclose(
            found[segments][:2],
            [recommender.embed(queries[track]) for track in tracks[:2]],
            atol=1e-5,
        )
    np.testing.assert_allclose(
        found[1][0], found[2][0], atol=1e-5
    )  # of a short track there is one window
    assert np.abs(found[1][1] - found[2][1]).max() > 1e-3
