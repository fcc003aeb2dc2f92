"""Compare a new version of the recommender with the champion on the run's test artists."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from musicrec import schema
from musicrec.evaluation.retrieval import evaluate_retrieval
from musicrec.pipeline.base import Outcome, Run
from musicrec.pipeline.embed import TABLE
from musicrec.pipeline.evaluate import TestSplit
from musicrec.pipeline.score_served import embed_tracks
from musicrec.serving.recommender import Recommender
from musicrec.training.predictions import read_predictions

if TYPE_CHECKING:
    from musicrec.registry.promotion import Decision


@dataclass(frozen=True)
class Challenger:
    """A new version.

    Attributes
    ----------
    artists
        The artists in its table.
    score
        Returns its retrieval scores on the run's test artists, where the given artists of its
        table are the candidates.
    """

    version: int
    artists: Collection[str]
    score: Callable[[Collection[str]], dict[str, float]]


def promote(run: Run, extracted: Outcome, challenger: Challenger) -> Decision:
    """Compare a new version with the present champion, and set the alias of the new one.

    The candidates are the artists in both tables: in a catalog that has grown, the champion would
    otherwise have the easier search.
    """
    from musicrec.registry.promotion import champion_version, decide, load_version

    model, version = run.config.registry.model, challenger.version
    metric = f"ndcg@{run.config.evaluate.neighbours[0]}"
    champion = champion_version(model)
    if champion is None or champion == version:
        score = challenger.score(challenger.artists).get(metric, math.nan)
        return decide(model, version, metric, score)
    recommender, source = load_version(model, champion)
    shared = set(challenger.artists).intersection(
        recommender.artists.column("artist_id").to_pylist()
    )
    champion_scores = score_recommender(run, extracted, recommender, source, shared)
    return decide(
        model,
        version,
        metric,
        challenger.score(shared).get(metric, math.nan),
        (champion, champion_scores.get(metric, math.nan)),
    )


def challenger(
    run: Run, version: int, extracted: Outcome, embedded: Outcome, ensemble: Outcome
) -> Challenger:
    """Return a new version ready for comparison.

    It is scored by its stored predictions of the test tracks, or, where it embeds more of each
    track when it serves (``registry.segments``), by the embeddings that it would serve.
    """
    split = TestSplit(run, run.store.read_table(embedded.stage.path(TABLE), schema.EMBEDDINGS))
    answers = ensemble
    if run.config.registry.segments > 1:
        from musicrec.registry.promotion import load_version

        recommender, source = load_version(run.config.registry.model, version)
        answers = embed_tracks(run, extracted, recommender, source, split.tracks)
    predicted = read_predictions(
        run.store, answers.record["predictions"], split.tracks, split.table.shape[1]
    )
    rows = np.flatnonzero(np.any(predicted != 0, axis=1))
    queries = dict(zip(*split.by_artist(predicted, rows), strict=True)) if len(rows) else {}
    return Challenger(
        version,
        split.ids,
        lambda candidates: retrieval_scores(run, queries, split.ids, split.table, set(candidates)),
    )


def score_recommender(
    run: Run, extracted: Outcome, recommender: Recommender, name: str, candidates: Collection[str]
) -> dict[str, float]:
    """Return the retrieval scores of a recommender, as it serves, on this run's test artists.

    It ranks the candidates among the artists of its own table. A test artist that is not in its
    table is a query all the same. For ``extracted`` and ``name`` see ``embed_tracks``.
    """
    tests = run.catalog.tracks.filter(pc.equal(run.catalog.tracks.column("split"), "test")).select(
        ["track_id", "artist_id"]
    )
    tracks = tests.column("track_id").to_pylist()
    embedded = embed_tracks(run, extracted, recommender, name, tracks)
    vectors = read_predictions(
        run.store, embedded.record["predictions"], tracks, recommender.ensemble.outputs
    )
    # An artist's query is the mean of its tracks' predictions (Whitell 2019), each of unit length.
    queries: dict[str, np.ndarray] = {}
    for artist, vector in zip(tests.column("artist_id").to_pylist(), vectors, strict=True):
        if vector.any():
            queries[artist] = queries.get(artist, 0) + vector / np.linalg.norm(vector)
    return retrieval_scores(
        run,
        queries,
        recommender.artists.column("artist_id").to_pylist(),
        recommender.table,
        candidates,
    )


def retrieval_scores(
    run: Run,
    queries: dict[str, np.ndarray],
    artist_ids: list[str],
    table: np.ndarray,
    candidates: Collection[str],
) -> dict[str, float]:
    """Return the mean retrieval scores of artists' predicted vectors.

    Parameters
    ----------
    queries
        The predicted vector (D,) of each artist.
    artist_ids, table
        The rows of a table of embeddings (A, D).
    candidates
        The artists of the table that may be retrieved. Without a query or a candidate there are no
        scores.
    """
    rows = [row for row, artist in enumerate(artist_ids) if artist in candidates]
    if not queries or not rows:
        return {}
    related: dict[str, list[str]] = {}
    for edge in run.catalog.related.to_pylist():
        related.setdefault(edge["artist_id"], []).append(edge["related_artist_id"])
    ids, ks = [artist_ids[row] for row in rows], run.config.evaluate.neighbours
    return evaluate_retrieval(
        np.stack(list(queries.values())), list(queries), table[rows], ids, related, ks=ks
    ).scores.means()
