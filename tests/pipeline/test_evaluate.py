from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from musicrec import schema
from musicrec.catalog.tables import Catalog
from musicrec.config.jobs import Config
from musicrec.config.sections import EmbedSettings
from musicrec.pipeline.base import Run
from musicrec.pipeline.evaluate import TestSplit
from musicrec.storage.store import Store

# Training artists "a" to "d" are at the first four axes; the test artists' vectors follow from the
# relations unless these are held out.
AXES = {
    name: np.eye(6, dtype=np.float32)[row]
    for row, name in enumerate(("a", "b", "c", "d", "s", "t"))
}
EDGES = [
    ("a", "b"),
    ("b", "a"),
    ("c", "a"),
    ("d", "c"),
    ("a", "t"),
    ("s", "a"),
    ("s", "t"),
    ("t", "c"),
    ("t", "d"),
    ("t", "s"),
]
TESTS = [("s1", "s", "x"), ("s2", "s", None), ("t1", "t", "y"), ("t2", "t", "y"), ("t3", "t", "z")]
METRICS = {f"{name}@{k}" for name in ("ndcg", "recall", "precision") for k in (1, 2)} | {"mrr"}


def split_of(tmp_path: Path, held_out: bool = False) -> TestSplit:
    rows = [(f"{artist}1", artist, None) for artist in "abcd"] + TESTS
    tracks = {
        "track_id": [track for track, _, _ in rows],
        "artist_id": [artist for _, artist, _ in rows],
        "album_id": pa.array([album for _, _, album in rows], pa.string()),
        "audio": ["x.mp3"] * len(rows),
        "genres": [[]] * len(rows),
        "split": ["train"] * 4 + ["test"] * 5,
    }
    heads, tails = zip(*EDGES, strict=True)
    related = {
        "artist_id": heads,
        "related_artist_id": tails,
        "rank": pa.array(range(1, len(EDGES) + 1), pa.int32()),
    }
    catalog = Catalog(
        str(tmp_path),
        schema.conform(pa.table(tracks), schema.TRACKS, "tracks"),
        schema.conform(
            pa.table({"artist_id": list(AXES), "genres": [[]] * 6}), schema.ARTISTS, "artists"
        ),
        schema.conform(pa.table(related), schema.RELATED, "related"),
    )
    embeddings = pa.table(
        {"artist_id": list(AXES), "vector": pa.array(list(AXES.values()), pa.list_(pa.float32()))}
    )
    config = Config(embed=EmbedSettings(hold_out_test_relations=held_out))
    return TestSplit(Run(config, Store(str(tmp_path)), catalog, "key"), embeddings)


def predictions() -> np.ndarray:
    """Return predictions: the tracks of "s" at "a" and "b", those of "t" at "c", "t" and "d"."""
    places = {
        "s1": AXES["a"] + 0.1 * AXES["b"],
        "s2": AXES["b"],
        "t1": 3 * AXES["c"],
        "t2": AXES["t"],
        "t3": AXES["d"] + 0.1 * AXES["c"],
    }
    return np.array([places[track] for track, _, _ in TESTS], dtype=np.float32)


def test_tracks_albums_and_artists_are_scored_separately(tmp_path: Path) -> None:
    scores = split_of(tmp_path).score(predictions(), (1, 2), seed=0)
    levels = scores["levels"]
    assert {name: level["queries"] for name, level in levels.items()} == {
        "track": 5,
        "album": 3,
        "artist": 2,
    }  # "s2" has no album
    assert scores["cosine"] == pytest.approx(1 / 5)  # only "t2" is at its artist
    assert (
        scores["cosine_interval"]
        == scores["intervals"]["cosine"]
        == levels["track"]["intervals"]["cosine"]
    )
    mean_of_t = AXES["c"] + AXES["t"] + predictions()[4] / math.sqrt(1.01)
    assert levels["artist"]["cosine"] == pytest.approx((0 + 1 / np.linalg.norm(mean_of_t)) / 2)
    # The nearest are "a" and "b" to the tracks of "s", and "c", "a" (all others are as far) and "d"
    # to those of "t".
    assert levels["track"]["precision@1"] == pytest.approx((1 + 0 + 1 + 0 + 1) / 5)
    assert scores["recall@2"] == levels["artist"]["recall@2"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    for level in levels.values():
        assert level.keys() >= METRICS | {"coverage@1", "coverage@2", "hubness@1", "cosine"}
        assert level["intervals"].keys() == METRICS | {"cosine"}
        assert all(low <= level[name] <= high for name, (low, high) in level["intervals"].items())
        assert level["chance"].keys() >= METRICS | {"coverage@1", "hubness@2"}


def test_coverage_head_and_tail(tmp_path: Path) -> None:
    scores = split_of(tmp_path).score(predictions(), (1, 2), seed=0)
    # "s" retrieves "a" and "b", "t" retrieves "c" and "d", in any order.
    assert scores["coverage@2"] == pytest.approx(4 / 6)
    # Without the test artists, "a" is named twice, "b" and "c" once: the head is "a", which is
    # related to "s" only.
    assert scores["head"]["artists"] == 1
    assert scores["head"]["recall@2"] == 1
    assert scores["tail"]["artists"] == 2
    assert scores["tail"]["recall@2"] == pytest.approx((0 + 2 / 3) / 2)
    assert scores["head"]["chance"]["recall@2"] == pytest.approx(2 / 5)


def test_among_artists_without_the_test_split(tmp_path: Path) -> None:
    unseen = split_of(tmp_path).score(predictions(), (1, 2), seed=0)["without_test_artists"]
    assert unseen["candidates"] == 4
    assert unseen["recall@2"] == 1  # "a" for "s", "c" and "d" for "t"
    assert unseen["chance"]["recall@2"] == pytest.approx(2 / 4)
    assert unseen["by_artist"].keys() == {"s", "t"}


def test_held_out_test_artists_have_no_target_and_are_no_candidates(tmp_path: Path) -> None:
    scores, transductive = (
        split_of(tmp_path, held_out).score(predictions(), (1, 2), seed=0)
        for held_out in (True, False)
    )
    assert "cosine" not in scores
    assert all("cosine" not in level for level in scores["levels"].values())
    assert {name: scores[name] for name in METRICS} == {
        name: transductive["without_test_artists"][name] for name in METRICS
    }


def test_popularity_has_the_same_metrics_without_a_cosine(tmp_path: Path) -> None:
    scores = split_of(tmp_path).popularity((1, 2), seed=0)
    assert scores["recall@1"] == pytest.approx((1 / 2 + 0) / 2)  # "a" is first for both
    assert scores["levels"].keys() == {"artist"}
    assert scores.keys() == split_of(tmp_path).score(predictions(), (1, 2), seed=0).keys() - {
        "cosine",
        "cosine_interval",
    }


def test_without_a_prediction_there_are_no_metrics(tmp_path: Path) -> None:
    assert split_of(tmp_path).score(np.zeros((5, 6), np.float32), (1, 2), seed=0) == {
        "tracks": 0,
        "artists": 0,
    }
