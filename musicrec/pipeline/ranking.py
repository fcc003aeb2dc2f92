"""Assemble the members of the ranking next to the network, and choose their weights."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse

from musicrec import schema
from musicrec.artists.ranking import POPULARITY, VOTES, Ranking, relation_matrix
from musicrec.evaluation.ranking_weights import choose_weights
from musicrec.pipeline.base import REVISION, Outcome, Run, run_stage
from musicrec.pipeline.embed import TABLE
from musicrec.storage.damage import report
from musicrec.storage.store import Stage, fingerprint
from musicrec.training.predictions import read_predictions

# More of either are drawn once: 50,000 vectors of 800 numbers take 80 MB in a registered model.
MAXIMUM_VOTERS = 50_000
MAXIMUM_VALIDATION_ARTISTS = 500


def rank(run: Run, embedded: Outcome, ensemble: Outcome) -> Outcome | None:
    """Write the ranking's members and weights (``musicrec.artists.ranking``).

    None if the configuration ranks by the network only. The weights are chosen on the validation
    artists, without the relations of validation and test artists.
    """
    settings = run.config.ranking
    if not settings.members:
        return None
    cutoff = run.config.evaluate.neighbours[0]
    key = fingerprint(
        REVISION, embedded.stage.key, ensemble.stage.key, run.catalog_key, vars(settings), cutoff
    )
    stage = run.store.stage("ranking", key)
    return run_stage(run, stage, lambda stage: _choose(run, stage, embedded, ensemble))


def read_ranking(run: Run, outcome: Outcome) -> Ranking:
    """Return the ranking of a finished stage, over the rows of the artist embeddings."""
    return Ranking.from_files(lambda name: read_file(run, outcome, name))


def read_file(run: Run, outcome: Outcome, name: str) -> bytes:
    """Return one of the ranking's files.

    Raises
    ------
    DamagedError
        It is not what was written; the next run makes it again.
    """
    path = outcome.stage.path(name)
    content = run.store.read(path)
    if hashlib.sha256(content).hexdigest() != outcome.record["digests"][name]:
        raise report(run.store, path, "its content does not match its SHA-256")
    return content


def relations_among(related: pa.Table, artist_ids: Sequence[str]) -> scipy.sparse.csr_array:
    """Return the relations (A, A) of a table ``related`` between artists, in their order."""
    row_of = {artist: row for row, artist in enumerate(artist_ids)}
    pairs = [
        (row_of[edge["artist_id"]], row_of[edge["related_artist_id"]])
        for edge in related.select(["artist_id", "related_artist_id"]).to_pylist()
        if edge["artist_id"] in row_of and edge["related_artist_id"] in row_of
    ]
    return relation_matrix(np.array(pairs, np.int64).reshape(-1, 2).T, len(artist_ids))


def without_artists_of(
    run: Run, ranking: Ranking, artist_ids: Sequence[str], splits: Collection[str] = ("test",)
) -> Ranking:
    """Return a ranking without the relations of the artists of some splits of the run.

    They are what an evaluation asks for. ``artist_ids`` are those of the ranking's rows.
    """
    tracks = run.catalog.tracks.select(["artist_id", "split"]).to_pylist()
    artists = {row["artist_id"] for row in tracks if row["split"] in splits}
    rows = [row for row, artist in enumerate(artist_ids) if artist in artists]
    return ranking.without(np.array(rows, np.int64))


def _choose(run: Run, stage: Stage, embedded: Outcome, ensemble: Outcome) -> dict[str, Any]:
    embeddings = run.store.read_table(embedded.stage.path(TABLE), schema.EMBEDDINGS)
    ids, table = (
        embeddings.column("artist_id").to_pylist(),
        np.stack(embeddings.column("vector").to_numpy()),
    )
    row_of = {artist: row for row, artist in enumerate(ids)}
    tracks = run.catalog.tracks.select(["track_id", "artist_id", "split"]).to_pylist()
    predicted = read_predictions(
        run.store,
        ensemble.record["predictions"],
        [track["track_id"] for track in tracks],
        table.shape[1],
    )
    usable = np.any(predicted != 0, axis=1)
    voters = np.array(
        [row for row, track in enumerate(tracks) if track["split"] == "train" and usable[row]],
        np.int64,
    )
    voters = _draw(voters, MAXIMUM_VOTERS, run.config.seed)
    related: dict[str, list[str]] = {}
    for edge in run.catalog.related.select(["artist_id", "related_artist_id"]).to_pylist():
        related.setdefault(edge["artist_id"], []).append(edge["related_artist_id"])
    ranking = Ranking(
        {VOTES: 0.0, POPULARITY: 0.0},
        run.config.ranking.neighbours,
        predicted[voters].astype(np.float16).astype(np.float32),  # as they are stored
        np.array([row_of[tracks[row]["artist_id"]] for row in voters], np.int64),
        relations_among(run.catalog.related, ids),
    )
    queries: dict[str, np.ndarray] = {}
    for row in np.flatnonzero(usable):
        if tracks[row]["split"] == "validation":
            unit = predicted[row] / np.linalg.norm(predicted[row])
            queries[tracks[row]["artist_id"]] = queries.get(tracks[row]["artist_id"], 0) + unit
    artists = _draw(np.array(list(queries)), MAXIMUM_VALIDATION_ARTISTS, run.config.seed).tolist()
    scores = {"network": math.nan, "chosen": math.nan}
    if artists and len(voters):
        weights, scores = choose_weights(
            without_artists_of(run, ranking, ids, ("validation", "test")),
            run.config.ranking.members,
            np.stack([queries[artist] for artist in artists]),
            artists,
            table,
            ids,
            related,
            run.config.evaluate.neighbours[0],
        )
        ranking = ranking.with_weights(weights)
    if not ranking.weights[VOTES]:  # a model does not carry what it never uses
        ranking = dataclasses.replace(
            ranking, voters=ranking.voters[:0], voter_artists=ranking.voter_artists[:0]
        )
    digests = {}
    for name, content in ranking.to_files().items():
        run.store.write(stage.path(name), content)
        digests[name] = hashlib.sha256(content).hexdigest()
    return {
        "rows_in": len(tracks),
        "rows_out": len(voters),
        "rows_incomplete": len(tracks) - len(voters),
        "digests": digests,
        "weights": ranking.weights,
        "validation_artists": len(artists),
        **{f"validation_{name}": value for name, value in scores.items() if math.isfinite(value)},
    }


def _draw(values: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Return at most ``most`` of the values, drawn from the seed, in their order."""
    if len(values) <= most:
        return values
    return values[np.sort(np.random.default_rng(seed).choice(len(values), most, replace=False))]
