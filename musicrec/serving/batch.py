"""Run many queries through Ray, block by block, in actors that hold the recommender.

Every query ends in the answers or in the errors table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from musicrec import schema
from musicrec.config.sections import RaySettings
from musicrec.extraction.index import INDEX
from musicrec.extraction.pipeline import Actors, run_blocks
from musicrec.features.columns import compile_kernels
from musicrec.serving.query_table import (
    TABLE,
    AnswerBlocks,
    QueryEmbedder,
    VectorBlocks,
    with_places,
    write_queries,
)
from musicrec.serving.recommender import Recommender
from musicrec.storage.store import Stage, Store, check_counts, complete_stages
from musicrec.storage.uri import absolute

ERRORS = "errors.parquet"


def run_queries(
    blocks: AnswerBlocks | VectorBlocks,
    queries: pa.Table,
    add_features: Callable[[pa.Table], pa.Table],
    reader: Callable[[int], QueryEmbedder],
    stage: str,
    rows_per_block: int,
    ray: RaySettings,
) -> dict[str, int]:
    """Run every query that no committed block holds yet.

    The queries and ``errors.parquet`` are written into the store of the blocks.

    Parameters
    ----------
    add_features
        Adds to the queries the places of their stored features (``with_stored_features``, for
        instance). It is called once, before the first block is planned.
    reader
        Returns a reader of blocks for a number of threads.

    Returns
    -------
    dict
        ``rows_in``, ``rows_out`` and ``rows_in_errors`` of all calls so far, ``rows_now`` of this
        one.
    """
    from musicrec.runtime.cluster import connect

    store = blocks.store
    if not blocks.manifest_names() or not store.exists(TABLE):
        write_queries(store, add_features(queries), rows_per_block)
    plan = blocks.extend(queries.select(["item", "uri"]), [blocks.content], rows_per_block)
    connect(ray)
    actors = Actors.of_cluster()
    now = run_blocks(
        blocks,
        plan,
        reader(actors.cpus),
        stage,
        maximum_failed_share=1.0,
        prepare=compile_kernels,
        actors=actors,
    )
    outcomes = blocks.outcomes()
    failed = outcomes.filter(pc.is_valid(outcomes.column("reason")))
    check_counts(stage, queries.num_rows, outcomes.num_rows - failed.num_rows, failed.num_rows)
    errors = {"track_id": failed.column("item"), "stage": pa.repeat(stage, failed.num_rows)}
    errors |= {name: failed.column(name) for name in ("reason", "detail")}
    store.write_table(ERRORS, pa.table(errors), schema.ERRORS)
    counts = {
        "rows_in": queries.num_rows,
        "rows_out": outcomes.num_rows - failed.num_rows,
        "rows_in_errors": failed.num_rows,
    }
    return counts | {"rows_now": int(now["rows"])}


def with_stored_features(
    store: Store, catalog: str, queries: pa.Table, recommender: Recommender
) -> pa.Table:
    """Add the places of the queries' features in the last extraction of the catalog for this model.

    Without such an extraction the queries stay unchanged. ``catalog`` is the catalog's root, in any
    spelling.
    """
    root = absolute(catalog)

    def is_of_catalog(record: dict[str, Any]) -> bool:
        extracted = record.get("catalog")
        return extracted is not None and absolute(extracted) == root

    for stage, record in complete_stages(store, "extract"):
        if is_of_catalog(record) and record.get("chroma") == recommender.chroma:
            return with_features_of(stage, record, queries, recommender)
    return queries


def with_features_of(
    stage: Stage, record: dict[str, Any], queries: pa.Table, recommender: Recommender
) -> pa.Table:
    """Add the places of the queries' features in an extraction, if the model can use it.

    A model that embeds more than the first 30 s of a recording needs the recording itself.
    """
    if recommender.segments > 1 or record.get("chroma") != recommender.chroma:
        return queries
    return with_places(
        queries, stage.store.read_table(stage.path("index.parquet"), INDEX), recommender.features
    )
