"""Embed catalog tracks as a recommender serves them, over all windows, in blocks through Ray."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from musicrec import schema
from musicrec.pipeline.assemble import write_recommender
from musicrec.pipeline.base import REVISION, Outcome, Run, run_stage
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.pipeline.retrain import Submodels
from musicrec.serving.batch import run_queries, with_features_of
from musicrec.serving.query_table import QueryEmbedder, VectorBlocks, of_catalog
from musicrec.serving.recommender import Recommender
from musicrec.storage.store import BLOCKS, Stage, Store, fingerprint
from musicrec.training.predictions import NO_FOLD, prediction_files

ROWS_PER_BLOCK = 32


def embed_tracks(
    run: Run, extracted: Outcome, recommender: Recommender, name: str, track_ids: Sequence[str]
) -> Outcome:
    """Embed catalog tracks with a recommender.

    The files in the record's ``predictions`` hold the embeddings (``schema.PREDICTIONS``). A track
    that cannot be read, or lacks an input that the recommender needs, is a row of
    ``errors.parquet``. Extracted features are used in place of the audio unless the recommender
    embeds more than the first 30 s.

    Parameters
    ----------
    extracted
        The extraction of the run's catalog; its key depends on the versions of the files.
    name
        Identifies the recommender: recommenders with different answers must have different names.
    """
    stage = run.store.stage(
        "listened",
        fingerprint(
            REVISION,
            name,
            run.catalog_key,
            extracted.stage.key,
            recommender.segments,
            list(track_ids),
        ),
    )
    return run_stage(
        run,
        stage,
        lambda stage: _embed_in_blocks(run, stage, extracted, recommender, track_ids),
        "listen",
    )


def score_served(done: Submodels, ensemble: Outcome) -> Outcome:
    """Return an ensemble's outcome with the embeddings that it would serve for the test tracks.

    They replace the predictions that its training run wrote.
    """
    run = done.run
    with tempfile.TemporaryDirectory() as folder:
        write_recommender(Path(folder), run, done.targeted, done.trained.whole, ensemble)
        recommender = Recommender.load(folder)
    tests = (
        run.catalog.tracks.filter(pc.equal(run.catalog.tracks.column("split"), "test"))
        .column("track_id")
        .to_pylist()
    )
    served = embed_tracks(run, done.extracted, recommender, ensemble.stage.key, tests)
    return Outcome(served.stage, ensemble.record | served.record, served.worked)


def _embed_in_blocks(
    run: Run, stage: Stage, extracted: Outcome, recommender: Recommender, track_ids: Sequence[str]
) -> dict[str, Any]:
    store = Store(run.store.uri(stage.folder))
    blocks = VectorBlocks(store, "blocks")
    run.store.write_json(stage.path(BLOCKS), {"listen": f"{stage.folder}/{blocks.folder}"})
    queries = of_catalog(run.catalog)
    queries = queries.take(
        pc.index_in(
            pa.array(track_ids, pa.string()), value_set=queries.column("item").combine_chunks()
        )
    )

    def with_features(queries: pa.Table) -> pa.Table:
        return with_features_of(extracted.stage, extracted.record, queries, recommender)

    def reader(threads: int) -> QueryEmbedder:
        return QueryEmbedder(recommender, store, threads)

    counts = run_queries(
        blocks, queries, with_features, reader, "listen", ROWS_PER_BLOCK, run.config.ray
    )
    embedded = blocks.read()
    embedded = embedded.filter(pc.is_null(embedded.column("reason")))
    columns = {
        "track_id": embedded.column("track_id"),
        "submodel": pa.repeat(ENSEMBLE, embedded.num_rows),
        "fold": pa.repeat(pa.scalar(NO_FOLD, pa.int32()), embedded.num_rows),
        "vector": embedded.column("vector"),
    }
    files = prediction_files(stage.folder, workers=1)
    run.store.write_table(files[0], pa.table(columns), schema.PREDICTIONS)
    return counts | {"predictions": files, "segments": recommender.segments}
