"""Recommend for one track, printed, or for many tracks, written as Parquet through Ray."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from musicrec.audio import AudioError
from musicrec.catalog.locations import catalog_root
from musicrec.catalog.tables import fingerprint as catalog_fingerprint
from musicrec.catalog.validate import load_validated
from musicrec.config.inputs import FIELDS
from musicrec.config.jobs import RecommendConfig
from musicrec.config.load import ConfigError
from musicrec.features.artwork import ArtworkError
from musicrec.registry.loading import load_recommender, pinned
from musicrec.registry.runs import URI_VARIABLE
from musicrec.serving.batch import run_queries, with_stored_features
from musicrec.serving.folder import AUDIO_SUFFIXES, left_out_sentence, of_folder
from musicrec.serving.query import Query
from musicrec.serving.query_table import (
    ANSWERS,
    AnswerBlocks,
    Answerer,
    of_catalog,
)
from musicrec.serving.recommender import MissingInput
from musicrec.storage.lock import acquire
from musicrec.storage.record import DamagedError, json_bytes, parse_json
from musicrec.storage.store import SUCCESS, Store, resolve
from musicrec.storage.store import fingerprint as key_of
from musicrec.storage.uri import absolute
from musicrec.telemetry.progress import event

# The request that a folder of recommendations answers; later calls must make the same one.
REQUEST = "request.json"
# The registry of a store in a folder (``musicrec.registry.runs.tracking_uri``).
REGISTRY_FILE = "mlflow.db"


def recommend_one(config: RecommendConfig) -> None:
    """Print the artists nearest to one track, as in Table 7 of Whitell 2019.

    Raises
    ------
    ConfigError
        There is no such store, the file cannot be read, or the model needs more inputs than were
        given.
    """
    from musicrec.pipeline.summary import recommendation_table
    from musicrec.telemetry.log import console

    _check_store(config)
    recommender = load_recommender(config.model, config.registry, Store(config.store))
    try:
        recommendation = recommender.recommend(
            Query(**{name: getattr(config, name) for name in FIELDS}),
            config.neighbours,
            config.popularity,
        )
    except (AudioError, ArtworkError, MissingInput) as error:
        raise ConfigError(str(error)) from error
    artists = recommender.describe(recommendation)
    console.print(recommendation_table(f"Artists near {config.audio}", artists))


def recommend_many(config: RecommendConfig) -> None:
    """Recommend for every track of a folder or a catalog through Ray.

    The folder ``out`` then holds ``recommendations/`` and ``errors.parquet``. After an interruption
    the next call continues with the blocks that are not committed. ``out`` belongs to one set of
    queries and one version of the model; a call with others is refused.

    Raises
    ------
    ConfigError
        There is no such store, no folder or catalog is given, it is empty, or ``out`` holds other
        recommendations.
    """
    _check_store(config)
    out = Store(config.out)
    queries, key = _queries(config)
    model = pinned(config.model, config.registry, Store(config.store))
    request = {
        "model": model,
        "neighbours": config.neighbours,
        "queries": queries.num_rows,
        "key": key,
    }
    if not config.popularity:  # left out by default, so that older folders can be continued
        request["popularity"] = False
    if not out.create(REQUEST, json_bytes(request)) and (held := _held(config, out)) != request:
        different = ", ".join(
            f"{name} {held.get(name)} (now {request.get(name)})"
            for name in sorted({*request, *held})
            if held.get(name) != request.get(name)
        )
        raise ConfigError(
            f"--out {config.out} is for other recommendations: {different}. "
            "Give another --out, or remove this one"
        )
    if out.exists(SUCCESS):
        event(
            "recommend",
            "already complete, nothing to do",
            **_counts(out.read_json(SUCCESS)),
            out=out.uri(ANSWERS),
        )
        return
    with acquire(out, "blocks", "recommend"):
        record = _answer(config, out, queries, model)
        out.write_json(SUCCESS, request | record)
    event("recommend", "written", **_counts(record), out=out.uri(ANSWERS))


def _held(config: RecommendConfig, out: Store) -> dict[str, Any]:
    """Return the request that a folder of recommendations answers."""
    try:
        return parse_json(out.read(REQUEST), out.uri(REQUEST))
    except DamagedError as error:
        raise ConfigError(
            f"{error}: --out {config.out} cannot be continued. Give another --out, or remove this "
            "one"
        ) from error


def _check_store(config: RecommendConfig) -> None:
    """Raise ConfigError if the store's own registry is needed and does not exist.

    MLflow would create the store, and an empty registry in it.
    """
    store = Store(config.store)
    is_elsewhere = config.registry.tracking_uri or os.environ.get(URI_VARIABLE)
    if is_elsewhere or not store.is_local or not config.model.startswith(("models:/", "runs:/")):
        return
    if not Path(resolve(store.root)[1]).is_dir():
        raise ConfigError(
            f"no such store: {config.store}. Give the --store of a run of jobs/retrain.py"
        )
    if not store.exists(REGISTRY_FILE):
        raise ConfigError(
            f"the store {config.store} has no registered model ({REGISTRY_FILE}): run "
            "jobs/retrain.py with this store first, or give another --store"
        )


def _answer(config: RecommendConfig, out: Store, queries: pa.Table, model: str) -> dict[str, Any]:
    """Answer the queries that are not committed yet, write the errors, and return the counts."""
    started = time.perf_counter()
    recommender = load_recommender(model, config.registry, Store(config.store))

    def with_features(queries: pa.Table) -> pa.Table:
        if config.catalog is None or not config.stored_features:
            return queries
        return with_stored_features(Store(config.store), config.catalog, queries, recommender)

    def reader(threads: int) -> Answerer:
        return Answerer(
            recommender,
            out,
            threads,
            neighbours=config.neighbours,
            popularity=config.popularity,
        )

    counts = run_queries(
        AnswerBlocks(out, "blocks"),
        queries,
        with_features,
        reader,
        "recommend",
        config.rows_per_block,
        config.ray,
    )
    return counts | {"seconds": round(time.perf_counter() - started, 2)}


def _counts(record: dict[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in ("rows_in", "rows_out", "rows_in_errors")}


def _queries(config: RecommendConfig) -> tuple[pa.Table, str]:
    """Return the queries and a hash of them."""
    if config.catalog is not None:
        root = catalog_root(config.catalog)
        catalog, _ = load_validated(root, resolve(root), seed=0, allowed_roots=config.allowed_roots)
        return of_catalog(catalog), key_of(root, catalog_fingerprint(catalog))
    if config.folder is None:
        raise ConfigError(
            "nothing to recommend for: give --audio FILE, --folder FOLDER or --catalog FOLDER"
        )
    queries, left_out = of_folder(absolute(config.folder))
    if queries.num_rows == 0:
        fix = f"give a folder with {', '.join(AUDIO_SUFFIXES)}"
        if left_out:
            fix += f"; {left_out_sentence(left_out)}"
        raise ConfigError(f"no audio file in {config.folder}: {fix}")
    if left_out:
        event("recommend", left_out_sentence(left_out), files_left_out=left_out.total())
    return queries, key_of(queries.column("uri").to_pylist())
