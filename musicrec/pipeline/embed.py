"""Artist embeddings, the targets of every submodel, from the catalog's related artists."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec import schema
from musicrec.config.errors import ConfigError
from musicrec.config.sections import EmbedSettings
from musicrec.pipeline.base import REVISION, Outcome, Run, already_complete, run_stage
from musicrec.pipeline.checkpoint import PassCheckpoint
from musicrec.pipeline.held_out import choose_by_held_out, chosen_before
from musicrec.pipeline.preflight import check_relations
from musicrec.storage.store import Stage, complete_stages, fingerprint

if TYPE_CHECKING:  # torch takes seconds to load
    from musicrec.artists.warm_start import Drift, WarmStart

TABLE = "embeddings.parquet"
# What is held out shows in the relations, and a device changes no more than rounding; a warm start
# has a key of its own.
NOT_IN_KEY = ("hold_out_test_relations", "device", "warm_start", "maximum_drift")
# Settings that no longer exist, with their defaults: keys hash them still, so that the embeddings
# of a store written before their removal are found again. ``regions`` trained extra vector spaces.
RETIRED = {"regions": 0}


def embed(run: Run) -> Outcome:
    """Train the embeddings and write them to ``embeddings.parquet`` in the stage's folder.

    With ``embed.warm_start`` the training starts from the store's last complete one of the same
    catalog, seed and settings, whose key is a part of this one's. What was trained on the very same
    relations and artists is complete, whatever it started from.
    """
    check_relations(run)
    learnt = run.catalog.related
    if run.config.embed.hold_out_test_relations:
        learnt = relations_without(learnt, held_out_artists(run.catalog.tracks))
        if not len(learnt):
            raise ConfigError(
                "embed.hold_out_test_relations: every relation names a test artist: nothing is "
                "left to learn from"
            )
    related = sorted(map(tuple, (row.values() for row in learnt.to_pylist())))
    artists = sorted(set(run.catalog.tracks.column("artist_id").to_pylist()))
    settings = key_settings(run.config.embed)
    alone = run.store.stage(
        "artists", fingerprint(REVISION, related, artists, settings, run.config.seed)
    )
    # By these facts in the records later runs find what they can use. Nothing that learnt of test
    # artists is a start for what must not.
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
        lambda stage: _embed_artists(run, stage, learnt, before) | facts,
    )


def key_settings(settings: EmbedSettings) -> dict[str, Any]:
    """Return the settings that decide the embeddings, as the stage's key hashes them."""
    without_effect = {*NOT_IN_KEY, *settings.without_effect()}
    decisive = {name: value for name, value in vars(settings).items() if name not in without_effect}
    return RETIRED | decisive


def held_out_artists(tracks: pa.Table) -> list[str]:
    """Return the artists of a catalog's test tracks, in order of appearance."""
    return (
        tracks.filter(pc.equal(tracks.column("split"), "test"))
        .column("artist_id")
        .unique()
        .to_pylist()
    )


def relations_without(related: pa.Table, artists: Collection[str]) -> pa.Table:
    """Return the rows of a ``related`` table that name none of ``artists`` on either side."""
    named = pa.array(artists, pa.string())
    names = (
        pc.is_in(related.column(side), value_set=named)
        for side in ("artist_id", "related_artist_id")
    )
    return related.filter(pc.invert(pc.or_(*names)))


def _embed_artists(
    run: Run, stage: Stage, related: pa.Table, before: tuple[Stage, dict[str, Any]] | None
) -> dict[str, Any]:
    from musicrec.artists.embedding import train_embeddings
    from musicrec.artists.graph import build_graph
    from musicrec.artists.quality import chance_jaccard
    from musicrec.artists.settings import EmbeddingSettings

    columns = {name: related.column(name).to_pylist() for name in schema.RELATED.names}
    graph = build_graph(
        columns["artist_id"],
        columns["related_artist_id"],
        columns["rank"],
        run.catalog.tracks.column("artist_id").to_pylist(),
    )
    settings = EmbeddingSettings.from_section(run.config.embed, run.config.seed)
    held_out = None
    if before is not None and before[1].get("held_out") is not None:
        # The vectors to start from learnt of every relation, so that nothing can be held out now.
        held_out = {"measured_on": before[0].key} | before[1]["held_out"]
        settings = chosen_before(settings, held_out)
    elif run.config.embed.held_out:
        settings, held_out = choose_by_held_out(run, stage, graph, settings)
    start = None if before is None else _warm_start(run, *before)
    checkpoint = PassCheckpoint(run.store, stage.folder, len(graph))
    result = train_embeddings(
        graph, settings, checkpoint.load(), checkpoint.save, run.config.embed.device, start
    )
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
        "held_out": held_out,
        "loss_history": np.round(result.loss, 6).tolist(),
        **(
            {}
            if before is None
            else {"started_from": before[0].key, **_drift(result.drift, len(graph))}
        ),
        "maximum_drift": None if before is None else run.config.embed.maximum_drift,
    }


def _warm_start(run: Run, stage: Stage, record: dict[str, Any]) -> WarmStart:
    """Return the vectors of an earlier training as a warm start."""
    from musicrec.artists.warm_start import WarmStart

    table = run.store.read_table(stage.path(TABLE), schema.EMBEDDINGS)
    vectors = np.stack(table.column("vector").to_numpy())
    limit = 1 - run.config.embed.maximum_drift
    return WarmStart(
        table.column("artist_id").to_pylist(), vectors, limit, record["weight"], record["bias"]
    )


def _drift(drift: Drift, artists: int) -> dict[str, Any]:
    """Return how far known artists moved from their earlier vectors, as cosines.

    The cosines are None if no artist is known any more.
    """
    cosines = {
        "mean_cosine_to_before": drift.mean_cosine,
        "least_cosine_to_before": drift.worst_cosine,
    }
    return {name: value if drift.artists else None for name, value in cosines.items()} | {
        "artists_new": artists - drift.artists
    }
