"""Artist embeddings, the targets of every submodel, from the catalog's related artists."""

from __future__ import annotations

import io
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec import schema
from musicrec.errors import ConfigError
from musicrec.progress import event
from musicrec.stages.base import REVISION, Outcome, Run, run_stage
from musicrec.store import Stage, fingerprint

TABLE = "embeddings.parquet"


def embed(run: Run) -> Outcome:
    """Train the embeddings; the stage's folder holds ``embeddings.parquet``."""
    learnt = run.catalog.related
    if run.config.embed.hold_out_test_relations:
        learnt = relations_without(learnt, held_out_artists(run.catalog.tracks))
        if not len(learnt):
            raise ConfigError("embed.hold_out_test_relations: every relation names a test artist: nothing is left to learn from")
    related = sorted(map(tuple, (row.values() for row in learnt.to_pylist())))
    artists = sorted(set(run.catalog.tracks.column("artist_id").to_pylist()))
    # What is held out shows in the relations, and a device changes no more than rounding: neither setting is a part of the key.
    settings = {name: value for name, value in vars(run.config.embed).items() if name not in ("hold_out_test_relations", "device")}
    stage = run.store.stage("artists", fingerprint(REVISION, related, artists, settings, run.config.seed))
    return run_stage(run, stage, lambda stage: _work(run, stage, learnt))


def held_out_artists(tracks: pa.Table) -> list[str]:
    """The artists of a catalog's test tracks, in their order there."""
    return tracks.filter(pc.equal(tracks.column("split"), "test")).column("artist_id").unique().to_pylist()


def relations_without(related: pa.Table, artists: Collection[str]) -> pa.Table:
    """The rows of a ``related`` table that name none of ``artists`` on either side."""
    named = pa.array(artists, pa.string())
    names = (pc.is_in(related.column(side), value_set=named) for side in ("artist_id", "related_artist_id"))
    return related.filter(pc.invert(pc.or_(*names)))


def _work(run: Run, stage: Stage, related: pa.Table) -> dict[str, Any]:
    import torch

    from musicrec.artists.embedding import PassProgress, train_embeddings
    from musicrec.artists.graph import build_graph
    from musicrec.artists.quality import chance_jaccard

    columns = {name: related.column(name).to_pylist() for name in schema.RELATED.names}
    graph = build_graph(
        columns["artist_id"], columns["related_artist_id"], columns["rank"], run.catalog.tracks.column("artist_id").to_pylist()
    )
    checkpoint, every = stage.path("last.pt"), max(1, 100_000 // len(graph))

    def on_pass(progress: PassProgress) -> None:
        if progress.passes % every == 0:
            stream = io.BytesIO()
            torch.save(progress.state(copy=False), stream)
            run.store.write(checkpoint, stream.getbuffer())
            event("artists", "pass", passes=progress.passes, training_stage=progress.stage, loss=progress.loss, jaccard=progress.jaccard)

    def saved() -> dict[str, Any] | None:
        return torch.load(io.BytesIO(run.store.read(checkpoint)), weights_only=True) if run.store.exists(checkpoint) else None

    result = train_embeddings(graph, embedding_settings(run), saved(), on_pass, run.config.embed.device)
    vectors = pa.array(list(result.vectors), pa.list_(pa.float32()))
    run.store.write_table(stage.path(TABLE), pa.table({"artist_id": graph.artist_ids, "vector": vectors}), schema.EMBEDDINGS)
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
        "loss_history": np.round(result.loss, 6).tolist(),
    }


def embedding_settings(run: Run) -> Any:
    """The configuration's ``embed`` section as the training takes it."""
    from musicrec.artists.settings import EmbeddingSettings, Stage

    settings = run.config.embed
    stages = tuple(
        Stage(learning_rate=rate, artists_per_step=artists, patience=patience, maximum_passes=settings.maximum_passes)
        for rate, artists, patience in zip(settings.learning_rates, settings.artists_per_step, settings.patience, strict=True)
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
