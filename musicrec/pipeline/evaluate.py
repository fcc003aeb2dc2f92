"""Evaluate models and baselines on artists that no model was trained on.

Scores are the cosine to the target and the retrieval of related artists.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from musicrec import schema
from musicrec.artists.ranking import Ranking
from musicrec.evaluation.baselines import mean_embedding, random_unit_vectors, ridge_embedding
from musicrec.evaluation.candidates import PARTS, Candidates, part_metrics, retrieval_metrics
from musicrec.evaluation.metrics import cosines
from musicrec.evaluation.retrieval import Retrieval
from musicrec.pipeline.base import REVISION, Outcome, Run, run_stage
from musicrec.pipeline.clip_statistics import read_statistics
from musicrec.pipeline.embed import TABLE, relations_without
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.pipeline.ranking import read_ranking, without_artists_of
from musicrec.storage.store import Stage, fingerprint
from musicrec.training.predictions import read_predictions

RESULTS = "results.json"
FIGURES = 1  # part of the key; increase it when results.json gets more metrics
# The ensemble as it is served, with the members that rank next to it; only if there are any.
RANKED = "ranking (served)"
BASELINES = ("random", "popularity", "mean embedding", "ridge")


def evaluate(
    run: Run,
    embedded: Outcome,
    summarised: Outcome,
    models: dict[str, Outcome],
    ranked: Outcome | None = None,
) -> Outcome:
    """Score every model and the baselines on the test split, and write ``results.json``.

    Parameters
    ----------
    summarised
        The clip statistics of the tracks.
    models
        Submodels, stacks and the ensemble, by name.
    ranked
        The members of the ranking next to the ensemble, whose results are ``RANKED``.
    """
    keys = {name: outcome.stage.key for name, outcome in models.items()}
    parts = (REVISION, FIGURES, keys, summarised.stage.key, vars(run.config.evaluate))
    if run.config.embed.hold_out_test_relations:
        # The test artists' relations are the ground truth, but not part of the models' keys.
        parts += (run.catalog_key,)
    if ranked is not None:
        parts += (ranked.stage.key,)
    stage = run.store.stage("evaluation", fingerprint(*parts))
    return run_stage(
        run, stage, lambda stage: _score_all(run, stage, embedded, summarised, models, ranked)
    )


def served_results(results: dict[str, Any]) -> dict[str, Any]:
    """Return the results of what is served: the ranking, or the ensemble where there is none."""
    return results.get(RANKED, results[ENSEMBLE])


class TestSplit:
    """The test tracks of a run, their targets, and the candidate artists.

    If the embeddings were learnt without the relations of test artists (``held_out``), the test
    artists' vectors are meaningless, and so is ``targets``; the candidates are then the artists
    that the other relations name.
    """

    __test__ = False  # pytest would collect it by its name

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
        remaining = relations_without(run.catalog.related, set(self.artist_of))
        named = Counter(remaining.column("related_artist_id").to_pylist())
        heads = set(remaining.column("artist_id").to_pylist())
        placed = [row for row, artist in enumerate(ids) if artist in named or artist in heads]
        self._all_ids, self._placed = ids, np.array(placed, np.int64)
        self.without_tests = Candidates([ids[row] for row in placed], table[placed], named)
        self.held_out = run.config.embed.hold_out_test_relations
        self.candidates = self.without_tests if self.held_out else Candidates(ids, table, named)
        self.ids, self.table = self.candidates.ids, self.candidates.table

    def known(self, run: Run, ranked: Outcome | None) -> Ranking | None:
        """Return the ranking of all embedded artists without the test artists' relations."""
        if ranked is None:
            return None
        return without_artists_of(run, read_ranking(run, ranked), self._all_ids)

    def ranking(self, run: Run, ranked: Outcome | None) -> Ranking | None:
        """Return the ranking of the candidates without the test artists' relations."""
        known = self.known(run, ranked)
        return known.among(self._placed) if known is not None and self.held_out else known

    def score(
        self, predicted: np.ndarray, ks: Sequence[int], seed: int, ranking: Ranking | None = None
    ) -> dict[str, Any]:
        """Score predictions (test tracks, D); a row of zeros is a missing prediction, left out.

        The cosine is the tracks'. All other metrics are the artists', whose query is the mean over
        their tracks; ``levels`` also has those of tracks and albums. ``ranking`` has the members
        that rank all embedded artists together with the predictions.
        """
        rows = np.flatnonzero(np.any(predicted != 0, axis=1))
        if not len(rows):
            return {"tracks": 0, "artists": 0}
        unseen = None if ranking is None else ranking.among(self._placed)
        among = unseen if self.held_out else ranking
        retrievals, levels = {}, {}
        for level, names in {
            "track": self.tracks,
            "album": self.album_of,
            "artist": self.artist_of,
        }.items():
            first, vectors = self.means(predicted, rows, names)
            if not len(first):
                continue  # no track names an album
            artists = [self.artist_of[row] for row in first]
            retrievals[level] = self.candidates.retrieve(vectors, artists, self.related, ks, among)
            values = None if self.held_out else cosines(self.targets[first], vectors)
            levels[level] = {
                "queries": len(first),
                **retrieval_metrics(retrievals[level], np.array(artists), seed, values),
            }
        artists, vectors = self.by_artist(predicted, rows)
        result = self._summary(levels, retrievals["artist"], rows, ks, seed)
        return result | {"without_test_artists": self._unseen(vectors, artists, ks, seed, unseen)}

    def popularity(self, ks: Sequence[int], seed: int) -> dict[str, Any]:
        """Score the retrieval by popularity, the same for every query.

        An artist's popularity is the number of relations that name it, those with test artists not
        counted.
        """
        artists = list(dict.fromkeys(self.artist_of))
        all_rows = np.arange(len(self.tracks))
        retrieval = self.candidates.retrieve(None, artists, self.related, ks)
        levels = {
            "artist": {
                "queries": len(artists),
                **retrieval_metrics(retrieval, np.array(artists), seed),
            }
        }
        result = self._summary(levels, retrieval, all_rows, ks, seed)
        return result | {"without_test_artists": self._unseen(None, artists, ks, seed)}

    def _summary(
        self,
        levels: dict[str, Any],
        retrieval: Retrieval,
        rows: np.ndarray,
        ks: Sequence[int],
        seed: int,
    ) -> dict[str, Any]:
        artists, groups = retrieval.artist_ids, np.array(retrieval.artist_ids)
        result = {
            "tracks": len(rows),
            "artists": len(artists),
            **levels["artist"],
            "levels": levels,
        }
        del result["queries"]
        if "cosine" in levels.get("track", {}):
            result["cosine"] = levels["track"]["cosine"]
            result["cosine_interval"] = levels["track"]["intervals"]["cosine"]
            result["intervals"] = {**result["intervals"], "cosine": result["cosine_interval"]}
        result["by_artist"] = dict(zip(artists, retrieval.scores.ndcg[ks[0]].tolist(), strict=True))
        for part in PARTS:
            result[part] = part_metrics(retrieval, part, groups, seed)
        return result

    def _unseen(
        self,
        vectors: np.ndarray | None,
        artists: list[str],
        ks: Sequence[int],
        seed: int,
        ranking: Ranking | None = None,
    ) -> dict[str, Any]:
        """Score the retrieval among the artists that relations without a test artist name.

        The task is the same whether the test artists' relations are held out or not. ``ranking`` is
        over these artists.
        """
        if not self.without_tests.ids:
            return {"candidates": 0}
        retrieval = self.without_tests.retrieve(vectors, artists, self.related, ks, ranking)
        by_artist = dict(zip(artists, retrieval.scores.ndcg[ks[0]].tolist(), strict=True))
        return {
            "candidates": len(self.without_tests.ids),
            **retrieval_metrics(retrieval, np.array(artists), seed),
            "by_artist": by_artist,
        }

    def by_artist(self, predicted: np.ndarray, rows: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Return one vector per artist: the mean of its tracks' predictions, each of unit length.

        Whitell 2019 recommends for an artist or album by the mean over its tracks.
        """
        first, vectors = self.means(predicted, rows, self.artist_of)
        return [self.artist_of[row] for row in first], vectors

    def means(
        self, predicted: np.ndarray, rows: np.ndarray, names: Sequence[str | None]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Average the predictions that share artist and name, each scaled to unit length.

        Parameters
        ----------
        predicted, rows
            (N, D), and the rows (K,) of it to use.
        names
            (N,), of the album for instance; a row without a name is left out.

        Returns
        -------
        first : ndarray of int64
            (G,) the first row of each group.
        vectors : ndarray of float32
            (G, D).
        """
        groups: dict[tuple[str, str], int] = {}
        first, vectors = [], []
        for row in rows.tolist():
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
    """Predict the embeddings (N, D) of the test tracks by ridge regression from clip statistics.

    A track without statistics gets zeros.
    """
    train = read_statistics(run, summarised, split.train_tracks)
    test = read_statistics(run, summarised, split.tracks)
    fitted, scored = ~np.isnan(train).any(axis=1), ~np.isnan(test).any(axis=1)
    predicted = np.zeros((len(split.tracks), split.table.shape[1]), np.float32)
    if scored.any() and len(set(split.train_artists[fitted])) > 1:
        predicted[scored] = ridge_embedding(
            train[fitted], split.train_targets[fitted], split.train_artists[fitted], test[scored]
        )
    return predicted


def _score_all(
    run: Run,
    stage: Stage,
    embedded: Outcome,
    summarised: Outcome,
    models: dict[str, Outcome],
    ranked: Outcome | None,
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
        if name == ENSEMBLE and ranked is not None:
            results[RANKED] = split.score(predicted, ks, seed, split.known(run, ranked))
    run.store.write_json(stage.path(RESULTS), results)
    ensemble = served_results(results)
    return {
        "rows_in": len(split.tracks),
        "rows_out": ensemble["tracks"],
        "rows_incomplete": len(split.tracks) - ensemble["tracks"],
        "test_artists": len(set(split.artist_of)),
        "test_cosine": ensemble.get("cosine"),
        **{name: ensemble.get(name) for k in ks for name in (f"ndcg@{k}", f"recall@{k}")},
    }
