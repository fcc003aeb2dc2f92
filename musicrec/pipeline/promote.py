"""Compare a new version of the recommender with the champion on the run's test artists."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from musicrec import schema
from musicrec.evaluation.metrics import bootstrap_interval
from musicrec.evaluation.retrieval import evaluate_retrieval
from musicrec.pipeline.base import Outcome, Run
from musicrec.pipeline.embed import TABLE
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.pipeline.evaluate import TestSplit
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
    otherwise have the easier search.
    """
    from musicrec.registry.promotion import champion_version, decide, load_version

    model, version = run.config.registry.model, challenger.version
    metric = f"ndcg@{run.config.evaluate.neighbours[0]}"
    champion = champion_version(model)
    require = run.config.registry.require_baseline

    def decided(scores: dict[str, Any], champion: tuple[int, float] | None) -> Decision:
        return decide(
            model,
            version,
            metric,
            scores.get(metric, math.nan),
            champion,
            artists=scores.get("artists", 0),
            baseline=best_baseline(challenger.baselines, metric, scores, run.config.seed),
            require_baseline=require,
        )

    if champion is None or champion == version:
        present = None if champion is None else (champion, math.nan)
        return decided(challenger.score(challenger.artists), present)
    recommender, source = load_version(model, champion)
    shared = set(challenger.artists).intersection(
        recommender.artists.column("artist_id").to_pylist()
    )
    champion_scores = score_recommender(run, extracted, recommender, source, shared)
    return decided(challenger.score(shared), (champion, champion_scores.get(metric, math.nan)))


def best_baseline(
    results: Mapping[str, dict[str, Any]], metric: str, scores: dict[str, Any], seed: int
) -> Baseline | None:
    """Return the baseline with the best score: popularity, ridge or exact chance.

    None if no baseline has a finite score. ``scores`` are the version's, whose test artists are
    paired with the baseline's.
    """
    from musicrec.registry.promotion import Baseline

    found = {name: results[name] for name in ("popularity", "ridge") if name in results}
    values = {name: each.get(metric) for name, each in found.items()}
    values["chance"] = results.get(ENSEMBLE, {}).get("chance", {}).get(metric)
    finite = {name: value for name, value in values.items() if value is not None}
    finite = {name: value for name, value in finite.items() if math.isfinite(value)}
    if not finite:
        return None
    name = max(finite, key=finite.__getitem__)
    own, others = scores.get("by_artist", {}), found.get(name, {}).get("by_artist", {})
    pairs = np.array([(own[artist], others[artist]) for artist in own if artist in others])
    interval = None
    if len(pairs) and np.isfinite(pairs).all(axis=1).any():
        interval = bootstrap_interval(pairs[:, 0], seed, paired_with=pairs[:, 1])
    return Baseline(name, finite[name], interval)


def challenger(
    run: Run,
    version: int,
    extracted: Outcome,
    embedded: Outcome,
    ensemble: Outcome,
    results: Mapping[str, dict[str, Any]] | None = None,
) -> Challenger:
    """Return a new version ready for comparison.

    It is scored by its stored predictions of the test tracks, or, where it embeds more of each
    track when it serves (``registry.segments``), by the embeddings that it would serve.
    ``results`` of the evaluation have the baselines.
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
    )


def retrieval_scores(
    run: Run,
    queries: dict[str, np.ndarray],
    artist_ids: list[str],
    table: np.ndarray,
    candidates: Collection[str],
) -> dict[str, Any]:
    """Return the mean retrieval scores of artists' predicted vectors.

    Beside the means by name, ``artists`` is the number of artists that have a related artist among
    the candidates, and ``by_artist`` each artist's NDCG at the first cut-off (NaN without one).

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
    scores = evaluate_retrieval(
        np.stack(list(queries.values())), list(queries), table[rows], ids, related, ks=ks
    ).scores
    by_artist = dict(zip(queries, scores.ndcg[ks[0]].tolist(), strict=True))
    return scores.means() | {
        "artists": int((scores.relevant > 0).sum()),
        "by_artist": by_artist,
    }
