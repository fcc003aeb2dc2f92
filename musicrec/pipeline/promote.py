"""Compare a new version of the recommender with the champion on the run's test artists."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from musicrec import schema
from musicrec.artists.ranking import Ranking
from musicrec.evaluation.paired import difference_by_artist
from musicrec.evaluation.ranking_scores import RetrievalScores
from musicrec.evaluation.retrieval import evaluate_retrieval
from musicrec.pipeline.base import Outcome, Run
from musicrec.pipeline.embed import TABLE
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.pipeline.evaluate import BASELINES, TestSplit
from musicrec.pipeline.ranking import read_ranking, without_artists_of
from musicrec.pipeline.score_served import embed_tracks
from musicrec.serving.recommender import Recommender
from musicrec.training.predictions import read_predictions

if TYPE_CHECKING:
    from musicrec.registry.promotion import Baseline, Decision


@dataclass(frozen=True)
class Challenger:
    """A new version.

    Attributes
    ----------
    artists
        The artists in its table.
    score
        Returns its retrieval scores on the run's test artists (see ``retrieval_scores``), where
        the given artists of its table are the candidates.
    baselines
        The results of the run's evaluation, by model and baseline.
    """

    version: int
    artists: Collection[str]
    score: Callable[[Collection[str]], dict[str, Any]]
    baselines: Mapping[str, dict[str, Any]] = field(default_factory=dict)


def promote(run: Run, extracted: Outcome, challenger: Challenger) -> Decision:
    """Compare a new version with the present champion, and set the alias of the new one.

    The candidates are the artists in both tables: in a catalog that has grown, the champion would
    otherwise have the easier search. The best baseline, whose candidates are all artists of the
    run, is compared with the version's score among all of them. Both comparisons are paired over
    the test artists.
    """
    from musicrec.registry.promotion import Champion, champion_version, decide, load_version

    settings, version = run.config.registry, challenger.version
    metric = f"ndcg@{run.config.evaluate.neighbours[0]}"
    champion = champion_version(settings.model)
    scores = challenger.score(challenger.artists)
    by_artist = {"version": scores.get("by_artist", {})}
    baseline = best_baseline(challenger.baselines, metric, scores, run.config.seed)
    present = None
    if champion == version:
        present = Champion(version, math.nan)
    elif champion is not None:
        recommender, source = load_version(settings.model, champion)
        shared = set(challenger.artists).intersection(
            recommender.artists.column("artist_id").to_pylist()
        )
        theirs = score_recommender(run, extracted, recommender, source, shared)
        scores = challenger.score(shared)
        by_artist = {
            "version": scores.get("by_artist", {}),
            "champion": theirs.get("by_artist", {}),
        }
        present = Champion(
            champion,
            theirs.get(metric, math.nan),
            difference_by_artist(by_artist["version"], by_artist["champion"], run.config.seed),
        )
    if baseline is not None and baseline.name in challenger.baselines:
        by_artist["baseline"] = challenger.baselines[baseline.name].get("by_artist", {})
    decision = decide(
        settings,
        version,
        metric,
        scores.get(metric, math.nan),
        present,
        artists=scores.get("artists", 0),
        baseline=baseline,
    )
    return dataclasses.replace(decision, by_artist=by_artist)


def best_baseline(
    results: Mapping[str, dict[str, Any]], metric: str, scores: dict[str, Any], seed: int
) -> Baseline | None:
    """Return the baseline with the best score, exact chance among them.

    None if no baseline has a finite score. ``scores`` are the version's (``retrieval_scores``),
    whose test artists are paired with the baseline's.
    """
    from musicrec.registry.promotion import Baseline

    baselines = {name: results[name] for name in BASELINES if name in results}
    baselines["chance"] = {
        metric: results.get(ENSEMBLE, {}).get("chance", {}).get(metric),
        "by_artist": scores.get("chance_by_artist", {}),
    }
    values = {name: each.get(metric) for name, each in baselines.items()}
    finite = {
        name: value for name, value in values.items() if value is not None and math.isfinite(value)
    }
    if not finite:
        return None
    name = max(finite, key=finite.__getitem__)
    difference = difference_by_artist(
        scores.get("by_artist", {}), baselines[name].get("by_artist", {}), seed
    )
    return Baseline(name, finite[name], difference)


def challenger(
    run: Run,
    version: int,
    extracted: Outcome,
    embedded: Outcome,
    ensemble: Outcome,
    results: Mapping[str, dict[str, Any]] | None = None,
    ranked: Outcome | None = None,
) -> Challenger:
    """Return a new version ready for comparison.

    It is scored by its stored predictions of the test tracks, or, where it embeds more of each
    track when it serves (``registry.segments``), by the embeddings that it would serve.
    ``results`` of the evaluation have the baselines, ``ranked`` the members of its ranking.
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
    ranking = None if ranked is None else read_ranking(run, ranked)
    return Challenger(
        version,
        split.ids,
        lambda candidates: retrieval_scores(
            run, queries, split.ids, split.table, set(candidates), ranking
        ),
        results or {},
    )


def score_recommender(
    run: Run, extracted: Outcome, recommender: Recommender, name: str, candidates: Collection[str]
) -> dict[str, Any]:
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
        recommender.ranking,
    )


def retrieval_scores(
    run: Run,
    queries: dict[str, np.ndarray],
    artist_ids: list[str],
    table: np.ndarray,
    candidates: Collection[str],
    ranking: Ranking | None = None,
) -> dict[str, Any]:
    """Return the mean retrieval scores of artists' predicted vectors.

    In addition to the means by name, ``artists`` is the number of artists that have a related
    artist among the candidates, ``by_artist`` each artist's NDCG at the first cut-off (NaN without
    one), and ``chance_by_artist`` its expectation for a random ranking.

    Parameters
    ----------
    queries
        The predicted vector (D,) of each artist.
    artist_ids, table
        The rows of a table of embeddings (A, D).
    candidates
        The artists of the table that may be retrieved. Without a query or a candidate there are no
        scores.
    ranking
        Members that rank the table's artists next to the predictions. The relations of the run's
        test artists are taken out of it.
    """
    rows = [row for row, artist in enumerate(artist_ids) if artist in candidates]
    if not queries or not rows:
        return {}
    related: dict[str, list[str]] = {}
    for edge in run.catalog.related.to_pylist():
        related.setdefault(edge["artist_id"], []).append(edge["related_artist_id"])
    ids, ks = [artist_ids[row] for row in rows], run.config.evaluate.neighbours
    among = None
    if ranking is not None:
        among = without_artists_of(run, ranking, artist_ids).among(np.array(rows))
    retrieval = evaluate_retrieval(
        np.stack(list(queries.values())),
        list(queries),
        table[rows],
        ids,
        related,
        ks=ks,
        ranking=among,
    )

    def by_artist(scores: RetrievalScores) -> dict[str, float]:
        return dict(zip(queries, scores.ndcg[ks[0]].tolist(), strict=True))

    return retrieval.scores.means() | {
        "artists": int((retrieval.scores.relevant > 0).sum()),
        "by_artist": by_artist(retrieval.scores),
        "chance_by_artist": by_artist(retrieval.chance),
    }
