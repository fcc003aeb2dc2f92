"""A catalog that grew overnight: only what is new or changed is extracted, known artists keep their
places and splits, and it is told."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from typing import Any

import mlflow
import numpy as np
import pytest
from small_catalog import UserCatalog, encoded, files_under, sound
from small_run import Retrained

from musicrec import schema
from musicrec.pipeline.embed import TABLE
from musicrec.pipeline.retrain import Evaluated, retrain
from musicrec.pipeline.summary import changes
from musicrec.training.training_run import EXAMPLES

pytestmark = pytest.mark.timeout(
    600
)  # the first test of a session waits for the retrain that all look at


def grown(catalog: UserCatalog) -> UserCatalog:
    """One more artist with two tracks, one file changed, one track gone, and no word of splits."""
    catalog = catalog.copy()
    like = next(row for row in catalog.tracks if row["track_id"] == "organ-0-0")
    for number in range(2):
        name = f"audio/organ-new-{number}.flac"
        catalog.files[name] = encoded(sound("organ", [7, number]), "flac")
        catalog.tracks.append(
            like | {"track_id": f"organ-new-{number}", "artist_id": "organ-new", "audio": name}
        )
    catalog.artists.append(
        catalog.artists[0] | {"artist_id": "organ-new", "name": "Organ Player New"}
    )
    catalog.related += [
        {"artist_id": "organ-new", "related_artist_id": f"organ-{rank}", "rank": rank + 1}
        for rank in range(3)
    ]
    changed = next(row["audio"] for row in catalog.tracks if row["track_id"] == "fiddle-1-0")
    catalog.files[changed] = encoded(sound("fiddle", [8]), changed.rpartition(".")[2])
    catalog.tracks = [
        row | {"split": ""} for row in catalog.tracks if row["track_id"] != "drum-2-1"
    ]
    return catalog


@pytest.fixture(scope="module")
def nights(
    retrained: Retrained, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Evaluated, Any, Any]]:
    """The retrain of the grown catalog on a copy of the first one's store, its registration, and
    the configuration of both."""
    folder = tmp_path_factory.mktemp("nightly")
    store = shutil.copytree(retrained.store, folder / "store")
    train = dataclasses.replace(retrained.config.train, launch="task")
    config = dataclasses.replace(retrained.config, store=str(store), train=train)
    before = shutil.copytree(
        config.catalog, folder / "catalog"
    )  # with the files' times, by which a change is noticed
    grown(retrained.catalog).write(config.catalog)
    try:
        yield *retrain(config), config
    finally:
        shutil.rmtree(config.catalog)
        shutil.copytree(before, config.catalog)


def splits(done: Evaluated) -> dict[str, str]:
    tracks = done.run.catalog.tracks
    return dict(
        zip(tracks.column("artist_id").to_pylist(), tracks.column("split").to_pylist(), strict=True)
    )


def test_only_new_and_changed_tracks_are_extracted(nights: tuple[Evaluated, Any, Any]) -> None:
    record = nights[0].extracted.record
    assert (record["rows_in"], record["rows_out"], record["rows_in_errors"]) == (25, 25, 0)
    assert (record["rows_extracted_now"], record["pictures_now"]) == (3, 0)
    assert (record["tracks_new"], record["tracks_changed"], record["tracks_removed"]) == (2, 1, 1)


def test_known_artists_stay_in_their_splits(
    nights: tuple[Evaluated, Any, Any], retrained: Retrained
) -> None:
    before, now = splits(retrained.done), splits(nights[0])
    assert {artist: now[artist] for artist in before} == before
    assert now.keys() - before.keys() == {"organ-new"}
    store = nights[0].run.store
    for name in ("mfcc.large_rnn", "lyrics", "recommendation"):
        examples = store.read_table(
            nights[0].models[name].stage.path("examples.parquet"), EXAMPLES
        ).to_pylist()
        assert {
            row["split"] for row in examples if row["artist_id"] in ("organ-3", "fiddle-3")
        } == {"test"}
        assert "drum-2-1" not in {row["track_id"] for row in examples}


def test_known_artists_stay_within_the_drift_that_is_allowed(
    nights: tuple[Evaluated, Any, Any], retrained: Retrained
) -> None:
    tables = [
        done.run.store.read_table(done.targeted.stage.path(TABLE), schema.EMBEDDINGS)
        for done in (retrained.done, nights[0])
    ]
    before, now = (
        dict(zip(t.column("artist_id").to_pylist(), t.column("vector").to_numpy(), strict=True))
        for t in tables
    )
    assert now.keys() - before.keys() == {"organ-new"}
    cosines = [float(before[artist] @ now[artist]) for artist in before]
    record = nights[0].targeted.record
    assert record["started_from"] == retrained.done.targeted.stage.key
    assert record["artists_new"] == 1
    assert record["mean_cosine_to_before"] == pytest.approx(np.mean(cosines), abs=1e-5)
    assert record["least_cosine_to_before"] == pytest.approx(min(cosines), abs=1e-5)
    assert min(cosines) >= 1 - nights[2].embed.maximum_drift - 1e-5
    near = {artist: float(now["organ-new"] @ now[artist]) for artist in before}
    assert np.mean([near[f"organ-{n}"] for n in range(3)]) > np.mean(
        [near[f"drum-{n}"] for n in range(4)]
    )


def test_what_changed_is_told_and_both_versions_are_compared(
    nights: tuple[Evaluated, Any, Any],
) -> None:
    done, registered, _ = nights
    told = "\n".join(changes(done))
    assert "Changes: tracks 2 new, 1 changed, 1 removed; 3 extracted now" in told
    assert "Artists: 1 new; the others' cosine to their vectors before: mean " in told
    assert all(
        f"{step} " in told
        for step in ("extraction", "targets", "submodels", "stacks", "evaluation", "registration")
    )
    assert registered.record["version"] == 2
    assert "champion version 1 on the same test artists" in registered.record["decision"]
    metrics = (
        mlflow.MlflowClient(registered.record["tracking_uri"])
        .get_run(registered.record["run_id"])
        .data.metrics
    )
    for name in (
        "compared_ndcg_at_5",
        "compared_ndcg_at_5_of_champion",
        "mean_cosine_to_before",
        "seconds_submodels",
    ):
        assert np.isfinite(metrics[name])
    assert (metrics["tracks_new"], metrics["tracks_changed"], metrics["artists_new"]) == (2, 1, 1)


def test_the_same_night_again_does_nothing(nights: tuple[Evaluated, Any, Any]) -> None:
    done, registered, config = nights
    before = files_under(config.store)
    again, registered_again = retrain(config)
    assert not again.worked
    assert not registered_again.worked
    assert registered_again.record == registered.record
    assert again.targeted.stage == done.targeted.stage
    assert changes(again) == []
    assert files_under(config.store) == before
