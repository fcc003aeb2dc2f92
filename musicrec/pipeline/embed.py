"""Artist embeddings, the targets of every submodel, from the catalog's related artists."""

from __future__ import annotations

import io
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec import schema
from musicrec.config.errors import ConfigError
from musicrec.pipeline.base import REVISION, Outcome, Run, already_complete, run_stage
from musicrec.storage.store import Stage, complete_stages, fingerprint
from musicrec.telemetry.progress import event

if TYPE_CHECKING:  # torch takes seconds to load
    from musicrec.artists.warm_start import Drift, WarmStart

TABLE = "embeddings.parquet"
REGIONS = "regions.safetensors"
# What is held out shows in the relations, and a device changes no more than rounding; a warm start has a key of its own.
NOT_IN_KEY = ("hold_out_test_relations", "device", "warm_start", "maximum_drift")


def embed(run: Run) -> Outcome:
    """Train the embeddings; the stage's folder holds ``embeddings.parquet``, and ``regions.safetensors`` where there are regions.

    With ``embed.warm_start`` the training starts from the store's last complete one of the same catalog, seed and settings, whose key is a
    part of this one's. What was trained on the very same relations and artists is complete, whatever it started from.
    """
    learnt = run.catalog.related
    if run.config.embed.hold_out_test_relations:
        learnt = relations_without(learnt, held_out_artists(run.catalog.tracks))
        if not len(learnt):
            raise ConfigError(
                "embed.hold_out_test_relations: every relation names a test artist: nothing is left to learn from"
            )
    related = sorted(map(tuple, (row.values() for row in learnt.to_pylist())))
    artists = sorted(set(run.catalog.tracks.column("artist_id").to_pylist()))
    settings = {
        name: value for name, value in vars(run.config.embed).items() if name not in NOT_IN_KEY
    }
    alone = run.store.stage(
        "artists", fingerprint(REVISION, related, artists, settings, run.config.seed)
    )
    # By these facts in the records later runs find what they can use. Nothing that learnt of test artists is a start for what must not.
    lineage = fingerprint(
        REVISION,
        run.catalog.root,
        settings,
        run.config.embed.hold_out_test_relations,
        run.config.seed,
    )
    facts = {"inputs": alone.key, "lineage": lineage}
    limit, before = run.config.embed.maximum_drift, None
    if run.config.embed.warm_start and alone.success() is None:
        earlier = [
            found
            for found in complete_stages(run.store, "artists")
            if found[1].get("lineage") == lineage
        ]
        for stage, record in earlier:
            if record["inputs"] == alone.key and record["maximum_drift"] == limit:
                return already_complete(stage, "artists")
        before = next((found for found in earlier if found[1]["inputs"] != alone.key), None)
    key = alone.key if before is None else fingerprint(alone.key, before[0].key, limit)
    return run_stage(
        run,
        run.store.stage("artists", key),
        lambda stage: _work(run, stage, learnt, before) | facts,
    )


def held_out_artists(tracks: pa.Table) -> list[str]:
    """The artists of a catalog's test tracks, in their order there."""
    return (
        tracks.filter(pc.equal(tracks.column("split"), "test"))
        .column("artist_id")
        .unique()
        .to_pylist()
    )


def relations_without(related: pa.Table, artists: Collection[str]) -> pa.Table:
    """The rows of a ``related`` table that name none of ``artists`` on either side."""
    named = pa.array(artists, pa.string())
    names = (
        pc.is_in(related.column(side), value_set=named)
        for side in ("artist_id", "related_artist_id")
    )
    return related.filter(pc.invert(pc.or_(*names)))


def _work(
    run: Run, stage: Stage, related: pa.Table, before: tuple[Stage, dict[str, Any]] | None
) -> dict[str, Any]:
    import torch

    from musicrec.artists.embedding import PassProgress, train_embeddings
    from musicrec.artists.graph import build_graph
    from musicrec.artists.quality import chance_jaccard

    columns = {name: related.column(name).to_pylist() for name in schema.RELATED.names}
    graph = build_graph(
        columns["artist_id"],
        columns["related_artist_id"],
        columns["rank"],
        run.catalog.tracks.column("artist_id").to_pylist(),
    )
    checkpoint, every = stage.path("last.pt"), max(1, 100_000 // len(graph))

    def on_pass(progress: PassProgress) -> None:
        if progress.passes % every == 0:
            stream = io.BytesIO()
            torch.save(progress.state(copy=False), stream)
            run.store.write(checkpoint, stream.getbuffer())
            event(
                "artists",
                "pass",
                passes=progress.passes,
                training_stage=progress.stage,
                loss=progress.loss,
                jaccard=progress.jaccard,
            )

    def saved() -> dict[str, Any] | None:
        return (
            torch.load(io.BytesIO(run.store.read(checkpoint)), weights_only=True)
            if run.store.exists(checkpoint)
            else None
        )

    start = None if before is None else _warm_start(run, *before)
    settings = embedding_settings(run)
    result = train_embeddings(graph, settings, saved(), on_pass, run.config.embed.device, start)
    vectors = pa.array(list(result.vectors), pa.list_(pa.float32()))
    run.store.write_table(
        stage.path(TABLE),
        pa.table({"artist_id": graph.artist_ids, "vector": vectors}),
        schema.EMBEDDINGS,
    )
    return {
        "rows_in": len(graph),
        "rows_out": len(result.vectors),
        "rows_in_errors": 0,
        "dimensions": result.vectors.shape[1],
        "passes": len(result.loss),
        "loss": float(result.loss[result.best_pass]),
        "jaccard": float(result.jaccard[result.best_pass]),
        "jaccard_chance": float(chance_jaccard(graph)),
        "weight": result.weight,
        "bias": result.bias,
        **_regions(run, stage, graph, result.vectors, settings),
        "loss_history": np.round(result.loss, 6).tolist(),
        **(
            {}
            if before is None
            else {"started_from": before[0].key, **_drift(result.drift, len(graph))}
        ),
        "maximum_drift": None if before is None else run.config.embed.maximum_drift,
    }


def _warm_start(run: Run, stage: Stage, record: dict[str, Any]) -> WarmStart:
    """The vectors of an earlier training, as a training takes them."""
    from musicrec.artists.warm_start import WarmStart

    table = run.store.read_table(stage.path(TABLE), schema.EMBEDDINGS)
    vectors = np.stack(table.column("vector").to_numpy())
    limit = 1 - run.config.embed.maximum_drift
    return WarmStart(
        table.column("artist_id").to_pylist(), vectors, limit, record["weight"], record["bias"]
    )


def _drift(drift: Drift, artists: int) -> dict[str, Any]:
    """How far the known artists moved, by the cosine to their vectors of before; None where none is known any more."""
    cosines = {
        "mean_cosine_to_before": drift.mean_cosine,
        "least_cosine_to_before": drift.worst_cosine,
    }
    return {name: value if drift.artists else None for name, value in cosines.items()} | {
        "artists_new": artists - drift.artists
    }


def _regions(
    run: Run, stage: Stage, graph: Any, vectors: np.ndarray, settings: Any
) -> dict[str, Any]:
    """Train and write the spaces of the regions, if any are asked for; what to record of them."""
    if not run.config.embed.regions:
        return {}
    import safetensors.numpy

    from musicrec.artists.quality import neighbour_jaccard
    from musicrec.artists.resolution import rising_spaces

    spaces = rising_spaces(
        graph, vectors, run.config.embed.regions, settings, run.config.embed.device
    )
    run.store.write(stage.path(REGIONS), safetensors.numpy.save(spaces.arrays()))
    artists = np.flatnonzero(graph.degrees)
    if settings.jaccard_artists is not None and settings.jaccard_artists < len(artists):
        artists = np.sort(
            np.random.default_rng(settings.seed).choice(
                artists, settings.jaccard_artists, replace=False
            )
        )
    found = spaces.nearest(vectors[artists], int(graph.degrees.max()), exclude=artists)
    return {
        "regions": len(spaces.regions),
        "jaccard_regions": neighbour_jaccard(graph, found, artists),
    }


def embedding_settings(run: Run) -> Any:
    """The configuration's ``embed`` section as the training takes it."""
    from musicrec.artists.settings import EmbeddingSettings, Stage

    settings = run.config.embed
    stages = tuple(
        Stage(
            learning_rate=rate,
            artists_per_step=artists,
            patience=patience,
            maximum_passes=settings.maximum_passes,
        )
        for rate, artists, patience in zip(
            settings.learning_rates, settings.artists_per_step, settings.patience, strict=True
        )
    )
    return EmbeddingSettings(
        dimensions=settings.dimensions,
        stages=stages,
        full_batch=settings.full_batch,
        select_by=settings.select_by,
        seed=run.config.seed,
        lazy=settings.lazy,
        jaccard_artists=settings.jaccard_artists,
        objective=settings.objective,
        temperature=settings.temperature,
        uniform_negatives=settings.uniform_negatives,
        rank_exponent=settings.rank_exponent,
        metric=settings.metric,
        initial=settings.initial,
        steps=settings.steps,
        decay=settings.decay,
    )
