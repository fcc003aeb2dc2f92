"""Which version serves: the champion, unless a newer one is not worse on the same test artists."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from musicrec.artwork import ArtworkError
from musicrec.audio import AudioError
from musicrec.catalog.locations import audio_uri
from musicrec.evaluation.retrieval import evaluate_retrieval
from musicrec.recommender import MissingInput, Query, Recommender
from musicrec.stages.base import Run

CHAMPION, CHALLENGER = "champion", "challenger"
# Two runs of one configuration differ in the last digits of float32 sums; that does not make one worse.
TOLERANCE = 1e-6


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


def decide(run: Run, version: int, results: dict[str, Any]) -> Decision:
    """Compare a new version with the present champion on this run's test artists and set the alias."""
    import mlflow

    client, model = mlflow.MlflowClient(), run.config.registry.model
    metric = f"ndcg@{run.config.evaluate.neighbours[0]}"
    champion = champion_version(model)
    score = results.get(metric, math.nan)  # no test track had what the ensemble needs
    if champion is None or champion == version:
        decision = Decision(version, CHAMPION, metric, score, None, None)
    else:
        champion_score = score_version(run, champion).get(metric, math.nan)
        alias = CHAMPION if score >= champion_score - TOLERANCE or math.isnan(champion_score) else CHALLENGER
        decision = Decision(version, alias, metric, score, champion, champion_score)
    client.set_registered_model_alias(model, decision.alias, version)
    return decision


def champion_version(model: str) -> int | None:
    """The version that has the alias ``champion``, or None."""
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    aliases = client.get_registered_model(model).aliases if client.search_registered_models(f"name = '{model}'") else {}
    if CHAMPION not in aliases:
        return None
    try:
        return int(client.get_model_version_by_alias(model, CHAMPION).version)
    except MlflowException as error:
        raise RuntimeError(
            f"the registry names a champion of '{model}' that it cannot give: {error}; delete the alias or restore it"
        ) from error


def score_version(run: Run, version: int) -> dict[str, float]:
    """The retrieval scores of a registered version on this run's test artists, from their audio as it would be served.

    The version ranks the artists of its own table: one that came into the catalog after it is asked for, and is no candidate.
    """
    import mlflow

    model = mlflow.pyfunc.load_model(f"models:/{run.config.registry.model}/{version}")
    recommender: Recommender = model.unwrap_python_model().recommender
    tests = [row for row in run.catalog.tracks.select(["track_id", "artist_id", "split"]).to_pylist() if row["split"] == "test"]
    vectors = embed_tracks(run, recommender, [row["track_id"] for row in tests])
    queries: dict[str, np.ndarray] = {}  # the mean of an artist's tracks, each of unit length (thesis section 5)
    for row, vector in zip(tests, vectors, strict=True):
        if vector.any():
            queries[row["artist_id"]] = queries.get(row["artist_id"], 0) + vector / np.linalg.norm(vector)
    if not queries:
        return {}
    related: dict[str, list[str]] = {}
    for edge in run.catalog.related.to_pylist():
        related.setdefault(edge["artist_id"], []).append(edge["related_artist_id"])
    ids, ks = recommender.artists.column("artist_id").to_pylist(), run.config.evaluate.neighbours
    return evaluate_retrieval(np.stack(list(queries.values())), list(queries), recommender.table, ids, related, ks=ks).scores.means()


def embed_tracks(run: Run, recommender: Recommender, track_ids: list[str]) -> np.ndarray:
    """The embeddings (N, D) of catalog tracks from their files; zeros for those that cannot be read or lack an input."""
    artists = {row["artist_id"]: row for row in run.catalog.artists.to_pylist()}
    tracks = {row["track_id"]: row for row in run.catalog.tracks.to_pylist()}
    vectors = np.zeros((len(track_ids), recommender.ensemble.outputs), np.float32)
    for row, track in enumerate(track_ids):
        try:
            vectors[row] = recommender.embed(catalog_query(run.catalog.root, tracks[track], artists[tracks[track]["artist_id"]]))
        except (AudioError, ArtworkError, MissingInput):
            continue
    return vectors


def catalog_query(root: str, track: dict[str, Any], artist: dict[str, Any]) -> Query:
    """All that a catalog knows of a track, as a query."""
    artwork = track["artwork"]
    return Query(
        audio=audio_uri(root, track["audio"]),
        lyrics=track["lyrics"],
        artwork=None if artwork is None else audio_uri(root, artwork),
        year=track["year"],
        latitude=artist["latitude"],
        longitude=artist["longitude"],
    )
