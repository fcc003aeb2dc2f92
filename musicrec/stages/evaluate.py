"""Evaluation on artists that no model was trained on: cosine to the target, retrieval of related artists, beside what needs no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from musicrec import schema
from musicrec.evaluation.baselines import mean_embedding, popularity_order, random_unit_vectors, ridge_embedding
from musicrec.evaluation.metrics import bootstrap_interval, cosines
from musicrec.evaluation.retrieval import evaluate_retrieval, fixed_rankings, relevant_rows, score_rankings
from musicrec.stages.base import REVISION, Outcome, Run, run_stage
from musicrec.stages.embed import TABLE
from musicrec.stages.ensemble import NAME as ENSEMBLE
from musicrec.stages.statistics import read_statistics
from musicrec.store import Stage, fingerprint
from musicrec.training.outputs import read_predictions

RESULTS = "results.json"
BASELINES = ("random", "popularity", "mean embedding", "ridge")


def evaluate(run: Run, embedded: Outcome, summarised: Outcome, models: dict[str, Outcome]) -> Outcome:
    """Score every model and the baselines on the test split; the stage's folder holds ``results.json``.

    Parameters
    ----------
    summarised
        The clip statistics of the tracks.
    models
        Submodels, stacks and the ensemble, by name.
    """
    keys = {name: outcome.stage.key for name, outcome in models.items()}
    stage = run.store.stage("evaluation", fingerprint(REVISION, keys, summarised.stage.key, vars(run.config.evaluate)))
    return run_stage(run, stage, lambda stage: _work(run, stage, embedded, summarised, models))


class TestSplit:
    """The test tracks of a run, their targets, and the artists to be retrieved."""

    __test__ = False  # not a test case of pytest's

    def __init__(self, run: Run, embeddings: pa.Table) -> None:
        tracks = run.catalog.tracks
        self.ids = embeddings.column("artist_id").to_pylist()
        self.table = np.stack(embeddings.column("vector").to_numpy())
        place = {artist: row for row, artist in enumerate(self.ids)}
        rows = tracks.select(["track_id", "artist_id", "split"]).to_pylist()
        self.tracks = [row["track_id"] for row in rows if row["split"] == "test"]
        self.artist_of = [row["artist_id"] for row in rows if row["split"] == "test"]
        self.targets = self.table[[place[artist] for artist in self.artist_of]]
        self.train_tracks = [row["track_id"] for row in rows if row["split"] == "train"]
        self.train_artists = np.array([row["artist_id"] for row in rows if row["split"] == "train"])
        self.train_targets = self.table[[place[artist] for artist in self.train_artists]]
        self.related: dict[str, list[str]] = {}
        for edge in run.catalog.related.to_pylist():
            self.related.setdefault(edge["artist_id"], []).append(edge["related_artist_id"])

    def score(self, predicted: np.ndarray, ks: Sequence[int], seed: int) -> dict[str, Any]:
        """Scores of predictions (test tracks, D); a row of zeros is a track without a prediction and is left out."""
        known = np.flatnonzero(np.any(predicted != 0, axis=1))
        if not len(known):
            return {"tracks": 0, "artists": 0}
        values = cosines(self.targets[known], predicted[known])
        artists, vectors = self.by_artist(predicted, known)
        retrieval = evaluate_retrieval(vectors, artists, self.table, self.ids, self.related, ks=ks)
        low, high = bootstrap_interval(values, seed=seed, groups=np.array([self.artist_of[row] for row in known]))
        return {
            "tracks": len(known),
            "artists": len(artists),
            "cosine": float(values.mean()),
            "cosine_interval": [low, high],
            "chance": retrieval.chance.means(),
            "by_artist": {a: float(v) for a, v in zip(artists, retrieval.scores.ndcg[ks[0]], strict=True)},
            **retrieval.scores.means(),
        }

    def by_artist(self, predicted: np.ndarray, known: np.ndarray) -> tuple[list[str], np.ndarray]:
        """One vector an artist: the mean of the predictions of its tracks, each of unit length (thesis section 5)."""
        sums: dict[str, np.ndarray] = {}
        for row in known.tolist():
            unit = predicted[row] / np.linalg.norm(predicted[row])
            sums[self.artist_of[row]] = sums.get(self.artist_of[row], 0) + unit
        return list(sums), np.stack(list(sums.values()))

    def popularity(self, ks: Sequence[int]) -> dict[str, float]:
        """Retrieval by the number of relations that name an artist, those of the test artists aside; the same for every query."""
        artists = list(dict.fromkeys(self.artist_of))
        query_rows, relevant, _ = relevant_rows(artists, self.ids, self.related)
        place = {artist: row for row, artist in enumerate(self.ids)}
        named = np.zeros(len(self.ids), np.int64)
        for head in self.related.keys() - set(artists):
            np.add.at(named, [place[tail] for tail in self.related[head] if tail in place], 1)
        return score_rankings(fixed_rankings(popularity_order(named), query_rows), relevant, ks).means()


def ridge(run: Run, split: TestSplit, summarised: Outcome) -> np.ndarray:
    """Ridge regression from clip statistics to the embedding, for the test tracks (N, D); zeros where a track has no statistics."""
    train = read_statistics(run, summarised, split.train_tracks)
    test = read_statistics(run, summarised, split.tracks)
    known, asked = ~np.isnan(train).any(axis=1), ~np.isnan(test).any(axis=1)
    predicted = np.zeros((len(split.tracks), split.table.shape[1]), np.float32)
    if asked.any() and len(set(split.train_artists[known])) > 1:
        predicted[asked] = ridge_embedding(train[known], split.train_targets[known], split.train_artists[known], test[asked])
    return predicted


def _work(run: Run, stage: Stage, embedded: Outcome, summarised: Outcome, models: dict[str, Outcome]) -> dict[str, Any]:
    split = TestSplit(run, run.store.read_table(embedded.stage.path(TABLE), schema.EMBEDDINGS))
    ks, seed, dimensions = run.config.evaluate.neighbours, run.config.seed, split.table.shape[1]
    results = {
        "random": split.score(random_unit_vectors(len(split.tracks), dimensions, seed), ks, seed),
        "mean embedding": split.score(mean_embedding(split.train_targets, len(split.tracks)), ks, seed),
        "ridge": split.score(ridge(run, split, summarised), ks, seed),
        "popularity": {"tracks": len(split.tracks), "artists": len(set(split.artist_of)), **split.popularity(ks)},
    }
    for name, outcome in models.items():
        predicted = read_predictions(run.store, outcome.record["predictions"], split.tracks, dimensions)
        results[name] = split.score(predicted, ks, seed)
    run.store.write_json(stage.path(RESULTS), results)
    best = results[ENSEMBLE]
    return {
        "rows_in": len(split.tracks),
        "rows_out": best["tracks"],
        "rows_incomplete": len(split.tracks) - best["tracks"],
        "test_artists": len(set(split.artist_of)),
        "test_cosine": best.get("cosine"),
        **{name: best.get(name) for k in ks for name in (f"ndcg@{k}", f"recall@{k}")},
    }
