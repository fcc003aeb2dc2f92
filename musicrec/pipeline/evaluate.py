"""Evaluation on artists that no model was trained on: cosine to the target, retrieval of related artists, beside what needs no model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from musicrec import schema
from musicrec.evaluation.baselines import mean_embedding, random_unit_vectors, ridge_embedding
from musicrec.evaluation.candidates import PARTS, Candidates, figures, part_figures
from musicrec.evaluation.metrics import cosines
from musicrec.evaluation.retrieval import Retrieval
from musicrec.pipeline.base import REVISION, Outcome, Run, run_stage
from musicrec.pipeline.clip_statistics import read_statistics
from musicrec.pipeline.embed import TABLE, relations_without
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.storage.store import Stage, fingerprint
from musicrec.training.predictions import read_predictions

RESULTS = "results.json"
FIGURES = 1  # a part of the key: raised when results.json comes to hold more
BASELINES = ("random", "popularity", "mean embedding", "ridge")


def evaluate(
    run: Run, embedded: Outcome, summarised: Outcome, models: dict[str, Outcome]
) -> Outcome:
    """Score every model and the baselines on the test split; the stage's folder holds ``results.json``.

    Parameters
    ----------
    summarised
        The clip statistics of the tracks.
    models
        Submodels, stacks and the ensemble, by name.
    """
    keys = {name: outcome.stage.key for name, outcome in models.items()}
    parts = (REVISION, FIGURES, keys, summarised.stage.key, vars(run.config.evaluate))
    if run.config.embed.hold_out_test_relations:
        parts += (
            run.catalog_key,
        )  # the relations of the test artists are no part of the models' keys, and are what is asked for
    stage = run.store.stage("evaluation", fingerprint(*parts))
    return run_stage(run, stage, lambda stage: _work(run, stage, embedded, summarised, models))


class TestSplit:
    """The test tracks of a run, their targets, and the artists to be retrieved.

    Where the embeddings were learnt without the relations of test artists (``held_out``), these have no place to be compared with, and
    ``targets`` means nothing; the artists to be retrieved are those that the other relations name.
    """

    __test__ = False  # not a test case of pytest's

    def __init__(self, run: Run, embeddings: pa.Table) -> None:
        tracks = run.catalog.tracks
        ids, table = (
            embeddings.column("artist_id").to_pylist(),
            np.stack(embeddings.column("vector").to_numpy()),
        )
        place = {artist: row for row, artist in enumerate(ids)}
        rows = tracks.select(["track_id", "artist_id", "album_id", "split"]).to_pylist()
        tests = [row for row in rows if row["split"] == "test"]
        self.tracks = [row["track_id"] for row in tests]
        self.artist_of = [row["artist_id"] for row in tests]
        self.album_of = [row["album_id"] for row in tests]
        self.targets = table[[place[artist] for artist in self.artist_of]]
        self.train_tracks = [row["track_id"] for row in rows if row["split"] == "train"]
        self.train_artists = np.array([row["artist_id"] for row in rows if row["split"] == "train"])
        self.train_targets = table[[place[artist] for artist in self.train_artists]]
        self.related: dict[str, list[str]] = {}
        for edge in run.catalog.related.to_pylist():
            self.related.setdefault(edge["artist_id"], []).append(edge["related_artist_id"])
        known = relations_without(run.catalog.related, set(self.artist_of))
        named = Counter(known.column("related_artist_id").to_pylist())
        heads = set(known.column("artist_id").to_pylist())
        placed = [row for row, artist in enumerate(ids) if artist in named or artist in heads]
        self.without_tests = Candidates([ids[row] for row in placed], table[placed], named)
        self.held_out = run.config.embed.hold_out_test_relations
        self.candidates = self.without_tests if self.held_out else Candidates(ids, table, named)
        self.ids, self.table = self.candidates.ids, self.candidates.table

    def score(self, predicted: np.ndarray, ks: Sequence[int], seed: int) -> dict[str, Any]:
        """Scores of predictions (test tracks, D); a row of zeros is a track without a prediction and is left out.

        The cosine is that of tracks; all else is of artists, each asked for by the mean over its tracks, and by ``levels`` also of tracks
        and albums.
        """
        known = np.flatnonzero(np.any(predicted != 0, axis=1))
        if not len(known):
            return {"tracks": 0, "artists": 0}
        retrievals, levels = {}, {}
        for level, names in {
            "track": self.tracks,
            "album": self.album_of,
            "artist": self.artist_of,
        }.items():
            first, vectors = self.means(predicted, known, names)
            if not len(first):
                continue  # no album is named
            artists = [self.artist_of[row] for row in first]
            retrievals[level] = self.candidates.retrieve(vectors, artists, self.related, ks)
            values = None if self.held_out else cosines(self.targets[first], vectors)
            levels[level] = {
                "queries": len(first),
                **figures(retrievals[level], np.array(artists), seed, values),
            }
        artists, vectors = self.by_artist(predicted, known)
        result = self._summary(levels, retrievals["artist"], known, ks, seed)
        return result | {"without_test_artists": self._unseen(vectors, artists, ks, seed)}

    def popularity(self, ks: Sequence[int], seed: int) -> dict[str, Any]:
        """Retrieval by the number of relations that name an artist, those of the test artists aside; the same for every query."""
        artists = list(dict.fromkeys(self.artist_of))
        everyone = np.arange(len(self.tracks))
        found = self.candidates.retrieve(None, artists, self.related, ks)
        levels = {"artist": {"queries": len(artists), **figures(found, np.array(artists), seed)}}
        result = self._summary(levels, found, everyone, ks, seed)
        return result | {"without_test_artists": self._unseen(None, artists, ks, seed)}

    def _summary(
        self,
        levels: dict[str, Any],
        found: Retrieval,
        known: np.ndarray,
        ks: Sequence[int],
        seed: int,
    ) -> dict[str, Any]:
        artists, groups = found.artist_ids, np.array(found.artist_ids)
        result = {
            "tracks": len(known),
            "artists": len(artists),
            **levels["artist"],
            "levels": levels,
        }
        del result["queries"]
        if "cosine" in levels.get("track", {}):
            result["cosine"] = levels["track"]["cosine"]
            result["cosine_interval"] = levels["track"]["intervals"]["cosine"]
            result["intervals"] = {**result["intervals"], "cosine": result["cosine_interval"]}
        result["by_artist"] = dict(zip(artists, found.scores.ndcg[ks[0]].tolist(), strict=True))
        for part in PARTS:
            result[part] = part_figures(found, part, groups, seed)
        return result

    def _unseen(
        self, vectors: np.ndarray | None, artists: list[str], ks: Sequence[int], seed: int
    ) -> dict[str, Any]:
        """Retrieval among the artists that relations without a test artist name: the same task with their relations held out or not."""
        if not self.without_tests.ids:
            return {"candidates": 0}
        found = self.without_tests.retrieve(vectors, artists, self.related, ks)
        by_artist = dict(zip(artists, found.scores.ndcg[ks[0]].tolist(), strict=True))
        return {
            "candidates": len(self.without_tests.ids),
            **figures(found, np.array(artists), seed),
            "by_artist": by_artist,
        }

    def by_artist(self, predicted: np.ndarray, known: np.ndarray) -> tuple[list[str], np.ndarray]:
        """One vector an artist: the mean of the predictions of its tracks, each of unit length (thesis section 5)."""
        first, vectors = self.means(predicted, known, self.artist_of)
        return [self.artist_of[row] for row in first], vectors

    def means(
        self, predicted: np.ndarray, known: np.ndarray, names: Sequence[str | None]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Means of the predictions that have one artist and one name, each of unit length.

        Parameters
        ----------
        predicted, known
            (N, D), and the rows (K,) of it that count.
        names
            (N,) of the album, for instance; a row without a name is left out.

        Returns
        -------
        first : ndarray of int64
            (G,) the first row of each group.
        vectors : ndarray of float32
            (G, D).
        """
        groups: dict[tuple[str, str], int] = {}
        first, vectors = [], []
        for row in known.tolist():
            if names[row] is None:
                continue
            group = groups.setdefault((self.artist_of[row], names[row]), len(groups))
            unit = predicted[row] / np.linalg.norm(predicted[row])
            if group == len(first):
                first.append(row)
                vectors.append(unit)
            else:
                vectors[group] = vectors[group] + unit
        return np.array(first, dtype=np.int64), np.array(vectors)


def ridge(run: Run, split: TestSplit, summarised: Outcome) -> np.ndarray:
    """Ridge regression from clip statistics to the embedding, for the test tracks (N, D); zeros where a track has no statistics."""
    train = read_statistics(run, summarised, split.train_tracks)
    test = read_statistics(run, summarised, split.tracks)
    known, asked = ~np.isnan(train).any(axis=1), ~np.isnan(test).any(axis=1)
    predicted = np.zeros((len(split.tracks), split.table.shape[1]), np.float32)
    if asked.any() and len(set(split.train_artists[known])) > 1:
        predicted[asked] = ridge_embedding(
            train[known], split.train_targets[known], split.train_artists[known], test[asked]
        )
    return predicted


def _work(
    run: Run, stage: Stage, embedded: Outcome, summarised: Outcome, models: dict[str, Outcome]
) -> dict[str, Any]:
    split = TestSplit(run, run.store.read_table(embedded.stage.path(TABLE), schema.EMBEDDINGS))
    ks, seed, dimensions = run.config.evaluate.neighbours, run.config.seed, split.table.shape[1]
    results = {
        "random": split.score(random_unit_vectors(len(split.tracks), dimensions, seed), ks, seed),
        "mean embedding": split.score(
            mean_embedding(split.train_targets, len(split.tracks)), ks, seed
        ),
        "ridge": split.score(ridge(run, split, summarised), ks, seed),
        "popularity": split.popularity(ks, seed),
    }
    for name, outcome in models.items():
        predicted = read_predictions(
            run.store, outcome.record["predictions"], split.tracks, dimensions
        )
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
