"""What a recommender answers for tracks as it is served: from their sound, over all of its windows, in blocks through Ray."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from musicrec import schema
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
    """The embeddings of catalog tracks by a recommender; the record's ``predictions`` hold those that it has (``schema.PREDICTIONS``).

    A track that cannot be read, or lacks an input that the recommender cannot do without, is a row of ``errors.parquet``. What was
    extracted of a track is not decoded again where the recommender hears no more of it.

    Parameters
    ----------
    extracted
        Of the run's catalog; its key knows which versions of the files are there.
    name
        Says which recommender it is: of two that answer otherwise it differs.
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
        run, stage, lambda stage: _work(run, stage, extracted, recommender, track_ids), "listen"
    )


def score_served(done: Submodels, ensemble: Outcome) -> Outcome:
    """The outcome of a trained ensemble with the answers of its recommender for the test tracks in place of its own predictions."""
    from musicrec.registry.package import write_recommender  # it imports MLflow

    run = done.run
    with tempfile.TemporaryDirectory() as folder:
        write_recommender(Path(folder), run, done.targeted, done.trained.whole, ensemble)
        recommender = Recommender.load(folder)
    tests = (
        run.catalog.tracks.filter(pc.equal(run.catalog.tracks.column("split"), "test"))
        .column("track_id")
        .to_pylist()
    )
    heard = embed_tracks(run, done.extracted, recommender, ensemble.stage.key, tests)
    return Outcome(heard.stage, ensemble.record | heard.record, heard.worked)


def _work(
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

    def found(queries: pa.Table) -> pa.Table:
        return with_features_of(extracted.stage, extracted.record, queries, recommender)

    def reader(threads: int) -> QueryEmbedder:
        return QueryEmbedder(recommender, store, threads)

    counts = run_queries(blocks, queries, found, reader, "listen", ROWS_PER_BLOCK, run.config.ray)
    heard = blocks.read()
    heard = heard.filter(pc.is_null(heard.column("reason")))
    same = {
        "submodel": pa.repeat(ENSEMBLE, heard.num_rows),
        "fold": pa.repeat(pa.scalar(NO_FOLD, pa.int32()), heard.num_rows),
    }
    files = prediction_files(stage.folder, workers=1)
    run.store.write_table(
        files[0],
        pa.table({"track_id": heard.column("track_id"), **same, "vector": heard.column("vector")}),
        schema.PREDICTIONS,
    )
    return counts | {"predictions": files, "segments": recommender.segments}
