"""Which version serves: the champion, unless a newer one is not worse on the same test artists, found among the same candidates."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from musicrec.evaluation.retrieval import evaluate_retrieval
from musicrec.pipeline.base import Outcome, Run
from musicrec.pipeline.score_served import embed_tracks
from musicrec.serving.recommender import Recommender
from musicrec.training.predictions import read_predictions

CHAMPION, CHALLENGER = "champion", "challenger"
# Two runs of one configuration differ in the last digits of float32 sums; that does not make one worse.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Challenger:
    """A new version.

    Attributes
    ----------
    artists
        Those of its table.
    score
        Its retrieval scores on the run's test artists, where these artists of its table are the candidates.
    """

    version: int
    artists: Collection[str]
    score: Callable[[Collection[str]], dict[str, float]]


@dataclass(frozen=True)
class Decision:
    """What became of a new version, and the figures behind it (None where there was no champion to compare with)."""

    version: int
    alias: str
    metric: str
    score: float
    champion_version: int | None
    champion_score: float | None

    def sentence(self) -> str:
        """The decision as a person reads it."""
        if self.champion_score is None:
            return f"version {self.version} is the first and becomes {CHAMPION} ({self.metric} {self.score:.4f})"
        relation = "not worse than" if self.alias == CHAMPION else "worse than"
        return (
            f"version {self.version} becomes {self.alias}: its {self.metric} of {self.score:.4f} is {relation} "
            f"the {self.champion_score:.4f} of champion version {self.champion_version} on the same test artists"
        )

    def metrics(self) -> dict[str, float]:
        """The figures that were compared, under names that MLflow takes."""
        name = self.metric.replace("@", "_at_")
        found = {
            f"compared_{name}": self.score,
            f"compared_{name}_of_champion": self.champion_score,
        }
        return {
            name: value
            for name, value in found.items()
            if value is not None and math.isfinite(value)
        }


def decide(run: Run, extracted: Outcome, challenger: Challenger) -> Decision:
    """Compare a new version with the present champion on this run's test artists and set the alias.

    Candidates are the artists that both know: of a catalog that has grown, the champion would otherwise have the easier search.
    """
    import mlflow

    client, model, version = mlflow.MlflowClient(), run.config.registry.model, challenger.version
    metric = f"ndcg@{run.config.evaluate.neighbours[0]}"
    champion = champion_version(model)
    if champion is None or champion == version:
        decision = Decision(
            version,
            CHAMPION,
            metric,
            challenger.score(challenger.artists).get(metric, math.nan),
            None,
            None,
        )
    else:
        recommender, source = load_version(model, champion)
        both = set(challenger.artists).intersection(
            recommender.artists.column("artist_id").to_pylist()
        )
        score = challenger.score(both).get(metric, math.nan)
        champion_score = score_recommender(run, extracted, recommender, source, both).get(
            metric, math.nan
        )
        alias = (
            CHAMPION
            if score >= champion_score - TOLERANCE or math.isnan(champion_score)
            else CHALLENGER
        )
        decision = Decision(version, alias, metric, score, champion, champion_score)
    client.set_registered_model_alias(model, decision.alias, version)
    return decision


def champion_version(model: str) -> int | None:
    """The version that has the alias ``champion``, or None."""
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    aliases = (
        client.get_registered_model(model).aliases
        if client.search_registered_models(f"name = '{model}'")
        else {}
    )
    if CHAMPION not in aliases:
        return None
    try:
        return int(client.get_model_version_by_alias(model, CHAMPION).version)
    except MlflowException as error:
        raise RuntimeError(
            f"the registry names a champion of '{model}' that it cannot give: {error}; delete the alias or restore it"
        ) from error


def load_version(model: str, version: int) -> tuple[Recommender, str]:
    """The recommender of a registered version, and where MLflow has it from, which no other has."""
    import mlflow

    source = mlflow.MlflowClient().get_model_version(model, str(version)).source
    return mlflow.pyfunc.load_model(
        f"models:/{model}/{version}"
    ).unwrap_python_model().recommender, source


def score_recommender(
    run: Run, extracted: Outcome, recommender: Recommender, name: str, candidates: Collection[str]
) -> dict[str, float]:
    """The retrieval scores of a recommender (``extracted``, ``name``: see ``listen``) on this run's test artists, as it would be served.

    It ranks the candidates among the artists of its own table: a test artist that it does not know is asked for all the same.
    """
    tests = run.catalog.tracks.filter(pc.equal(run.catalog.tracks.column("split"), "test")).select(
        ["track_id", "artist_id"]
    )
    tracks = tests.column("track_id").to_pylist()
    heard = embed_tracks(run, extracted, recommender, name, tracks)
    vectors = read_predictions(
        run.store, heard.record["predictions"], tracks, recommender.ensemble.outputs
    )
    queries: dict[
        str, np.ndarray
    ] = {}  # the mean of an artist's tracks, each of unit length (thesis section 5)
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
    """The retrieval scores of artists' predicted vectors among the candidates of a table (A, D); none without a query or candidate."""
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
