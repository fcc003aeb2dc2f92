"""The ladder of a catalog: its figures are those of the evaluation, and of a count by hand."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from small_run import Retrained

from musicrec import schema
from musicrec.config.jobs import ScoreConfig
from musicrec.evaluation.metrics import discounts
from musicrec.pipeline.clip_statistics import read_statistics, statistics
from musicrec.pipeline.embed import TABLE
from musicrec.pipeline.evaluate import RESULTS, TestSplit
from musicrec.storage.store import Store
from musicrec.studies.ladder import NEIGHBOURS, OWN, THESIS, neighbours_scores, score

# The first test of a session waits for the retrain that all tests use.
pytestmark = pytest.mark.timeout(600)


def test_the_ladder_has_every_rung_with_the_scores_of_the_evaluation(retrained: Retrained) -> None:
    values = {
        f.name: getattr(retrained.config, f.name) for f in dataclasses.fields(retrained.config)
    }
    uri = score(ScoreConfig(**values, seeds=(retrained.config.seed,)))
    store = Store(retrained.store)
    name = uri.removeprefix(store.root).lstrip("/")
    rungs = [
        line.split(" | ")[0].removeprefix("| ")
        for line in store.read(name).decode().splitlines()
        if line.startswith("| ")
    ][2:]
    assert rungs == [
        "chance (exact)",
        "popularity",
        "ridge on statistics",
        NEIGHBOURS,
        THESIS,
        OWN,
    ]
    table = store.read(f"{Path(name).with_suffix('.csv')}").decode()
    rows = list(csv.DictReader(io.StringIO(table)))
    results = store.read_json(retrained.done.evaluated.stage.path(RESULTS))
    for rung, of in (("popularity", "popularity"), (OWN, "recommendation")):
        found = {row["artist_id"]: float(row["ndcg"]) for row in rows if row["rung"] == rung}
        assert found == pytest.approx(results[of]["by_artist"], nan_ok=True)
    assert {row["rung"] for row in rows} == set(rungs)


def test_nearest_neighbours_on_statistics_are_those_counted_by_hand(retrained: Retrained) -> None:
    done, run = retrained.done, retrained.done.run
    split = TestSplit(run, run.store.read_table(done.targeted.stage.path(TABLE), schema.EMBEDDINGS))
    scores = neighbours_scores(run, done, split, 5)
    summarised = statistics(run, done.extracted)
    train = read_statistics(run, summarised, split.train_tracks).astype(np.float64)
    test = read_statistics(run, summarised, split.tracks).astype(np.float64)
    deviation = np.where(train.std(axis=0) > 0, train.std(axis=0), 1)
    train, test = (train - train.mean(axis=0)) / deviation, (test - train.mean(axis=0)) / deviation
    cosine = (test / np.linalg.norm(test, axis=1, keepdims=True)) @ (
        train / np.linalg.norm(train, axis=1, keepdims=True)
    ).T
    tests = set(split.artist_of)
    for artist in tests:
        totals = np.zeros(len(split.ids))
        for row, owner in enumerate(split.artist_of):
            if owner != artist:
                continue
            votes = np.zeros(len(split.ids))
            for track in np.argsort(-cosine[row], kind="stable")[:20]:
                voter = str(split.train_artists[track])
                for name in {voter, *split.related.get(voter, [])}:
                    if name in split.ids and name not in tests:
                        votes[split.ids.index(name)] += 1
            totals += (votes - votes.mean()) / (votes.std() or 1)
        ranked = [split.ids[row] for row in np.argsort(-totals, kind="stable")]
        ranked = [name for name in ranked if name != artist][:5]
        relevant = set(split.related.get(artist, [])) & set(split.ids) - {artist}
        if not relevant:
            assert np.isnan(scores[artist])
            continue
        gains = discounts(5)
        expected = sum(gain for gain, name in zip(gains, ranked, strict=False) if name in relevant)
        expected /= gains[: len(relevant)].sum()
        assert scores[artist] == pytest.approx(expected, abs=1e-5)
