"""Recommendations for one track, printed, and for many, written as Parquet through Ray."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.fs

from musicrec import schema
from musicrec.artwork import ArtworkError
from musicrec.audio import AudioError
from musicrec.catalog.validate import load_validated
from musicrec.config import ConfigError
from musicrec.progress import Meter, event
from musicrec.recommender import MissingInput, Query, Recommender
from musicrec.registry.promotion import catalog_query
from musicrec.registry.serving import load_recommender
from musicrec.settings import RecommendConfig
from musicrec.stages.base import check_counts
from musicrec.store import Store, absolute, parquet_bytes, resolve, write_atomically

AUDIO_SUFFIXES = (".mp3", ".flac", ".ogg", ".opus", ".wav", ".m4a", ".aac")
QUERIES_AT_ONCE = 16


def recommend_one(config: RecommendConfig) -> None:
    """Print the artists nearest to one track (thesis Table 7).

    Raises
    ------
    ConfigError
        The file cannot be read, or the model needs more than was given.
    """
    from musicrec.progress import console
    from musicrec.summary import recommendation_table

    recommender = load_recommender(config.model, config.registry, Store(config.store))
    fields = ("audio", "lyrics", "artwork", "year", "latitude", "longitude")
    try:
        found = recommender.recommend(Query(**{name: getattr(config, name) for name in fields}), config.neighbours)
    except (AudioError, ArtworkError, MissingInput) as error:
        raise ConfigError(str(error)) from error
    console.print(recommendation_table(f"Artists near {config.audio}", recommender.describe(found)))


def recommend_many(config: RecommendConfig) -> None:
    """Write recommendations for every track of a folder or a catalog; what cannot be read goes to a table beside them.

    Raises
    ------
    ConfigError
        Neither a folder nor a catalog is given, or there is nothing in it.
    """
    queries = list(_queries(config))
    if not queries:
        raise ConfigError(f"no audio file in {config.folder}: give a folder with {', '.join(AUDIO_SUFFIXES)}")
    recommender = load_recommender(config.model, config.registry, Store(config.store))
    from musicrec.parallel import connect, map_unordered

    connect(config.ray)
    chunks = [queries[start : start + QUERIES_AT_ONCE] for start in range(0, len(queries), QUERIES_AT_ONCE)]
    answers, errors = [], []
    with Meter("recommend", len(queries), "tracks") as meter:
        for answered, failed in map_unordered(_answer, chunks, recommender, config.neighbours):
            answers += answered
            errors += failed
            meter.advance(len({row["query"] for row in answered}) + len(failed), errors=len(errors))
    check_counts("recommend", len(queries), len({row["query"] for row in answers}), len(errors))
    answers.sort(key=lambda row: (row["query"], row["rank"]))
    for out, rows, contract in ((config.out, answers, schema.RECOMMENDATIONS), (f"{config.out}.errors", errors, schema.ERRORS)):
        filesystem, path = resolve(out)
        write_atomically(filesystem, path, parquet_bytes(pa.Table.from_pylist(rows, schema=contract)))
    event("recommend", "written", tracks=len(queries), errors=len(errors), out=absolute(config.out))


def _queries(config: RecommendConfig) -> Iterator[tuple[str, Query]]:
    if config.catalog is not None:
        root = absolute(config.catalog)
        catalog, _ = load_validated(root, resolve(root), seed=0)
        artists = {row["artist_id"]: row for row in catalog.artists.to_pylist()}
        for track in catalog.tracks.to_pylist():
            yield track["track_id"], catalog_query(root, track, artists[track["artist_id"]])
    elif config.folder is not None:
        root = absolute(config.folder)
        filesystem, base = resolve(root)
        selector = pyarrow.fs.FileSelector(base, recursive=True)
        for file in sorted(filesystem.get_file_info(selector), key=lambda file: file.path):
            if file.type == pyarrow.fs.FileType.File and file.path.lower().endswith(AUDIO_SUFFIXES):
                uri = root + file.path.removeprefix(base)
                yield uri, Query(audio=uri)
    else:
        raise ConfigError("nothing to recommend for: give --audio FILE, --folder FOLDER or --catalog FOLDER")


def _answer(queries: list[tuple[str, Query]], recommender: Recommender, k: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    answers: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for name, query in queries:
        try:
            found = recommender.recommend(query, k)
        except (AudioError, ArtworkError) as error:
            errors.append({"track_id": name, "stage": "recommend", "reason": error.reason, "detail": error.detail})
            continue
        except MissingInput as error:
            errors.append({"track_id": name, "stage": "recommend", "reason": "missing_input", "detail": str(error)})
            continue
        answers += [
            {"query": name, "rank": rank, "artist_id": artist["artist_id"], "similarity": artist["similarity"]}
            for rank, artist in enumerate(recommender.describe(found), 1)
        ]
    return answers, errors
