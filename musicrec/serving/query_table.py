"""Many queries as one table in the order of their blocks, and a block of them embedded or answered: what each worker of a batch does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet
import torch

from musicrec import schema
from musicrec.catalog.locations import audio_uris
from musicrec.catalog.tables import Catalog
from musicrec.extraction.manifest import OUTCOME_FIELDS, Blocks
from musicrec.features.reader import read_stored
from musicrec.serving.recommender import Failure, Features, Query, Recommender
from musicrec.storage.store import Store, parquet_bytes, resolve

AUDIO_SUFFIXES = (".mp3", ".flac", ".ogg", ".opus", ".wav", ".m4a", ".aac")
# One track a row; ``item`` and ``uri`` (of its audio) are what a plan of blocks is made of.
QUERIES = pa.schema(
    [
        pa.field("item", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("artwork", pa.string()),
        pa.field("lyrics", pa.string()),
        pa.field("year", pa.float64()),
        pa.field("latitude", pa.float64()),
        pa.field("longitude", pa.float64()),
    ]
)
# Where a query's extracted feature lies; one such table a feature, in the order of the queries.
PLACES = pa.schema([("part", pa.string()), ("row", pa.int32())])
TABLE, ANSWERS, VECTOR = "queries.parquet", "recommendations", "vector"
# What became of a query that was embedded alone.
VECTORS = pa.schema([("track_id", pa.string()), (VECTOR, pa.list_(pa.float32())), *OUTCOME_FIELDS])
# What became of one that was answered, before its answers are written row by row.
ANSWER = pa.schema(
    [
        ("track_id", pa.string()),
        ("artist_id", pa.list_(pa.string())),
        ("similarity", pa.list_(pa.float32())),
        *OUTCOME_FIELDS,
    ]
)


def of_folder(root: str) -> pa.Table:
    """A query for every audio file under a folder, by its URI."""
    filesystem, base = resolve(root)
    files = filesystem.get_file_info(pyarrow.fs.FileSelector(base, recursive=True))
    paths = [
        file.path
        for file in files
        if file.type == pyarrow.fs.FileType.File and file.path.lower().endswith(AUDIO_SUFFIXES)
    ]
    uris = pa.array([root + path.removeprefix(base) for path in sorted(paths)], pa.string())
    return schema.conform(pa.table({"item": uris, "uri": uris}), QUERIES, "queries")


def of_catalog(catalog: Catalog) -> pa.Table:
    """A query for every track, with all that the catalog knows of it."""
    tracks, artists = catalog.tracks, catalog.artists
    owner = pc.index_in(
        tracks.column("artist_id"), value_set=artists.column("artist_id").combine_chunks()
    )
    columns = {
        "item": tracks.column("track_id"),
        "lyrics": tracks.column("lyrics"),
        "year": tracks.column("year"),
    }
    columns |= {
        name: audio_uris(catalog.root, tracks.column(column))
        for name, column in (("uri", "audio"), ("artwork", "artwork"))
    }
    columns |= {name: artists.column(name).take(owner) for name in ("latitude", "longitude")}
    return schema.conform(pa.table(columns), QUERIES, "queries")


def with_places(queries: pa.Table, index: pa.Table, features: list[str]) -> pa.Table:
    """The queries with a column a feature, that says where it was extracted to (``PLACES``; null where it was not)."""
    stored = pc.unique(index.column("modality")).to_pylist()
    for feature in features:
        modality = "stft" if feature == "stft_halved" and feature not in stored else feature
        found = index.filter(pc.equal(index.column("modality"), modality))
        rows = pc.index_in(
            queries.column("item"), value_set=found.column("track_id").combine_chunks()
        ).combine_chunks()
        parts = [found.column(name).combine_chunks().take(rows) for name in PLACES.names]
        queries = queries.append_column(
            feature, pa.StructArray.from_arrays(parts, fields=list(PLACES), mask=rows.is_null())
        )
    return queries


def write_queries(store: Store, queries: pa.Table, rows_per_block: int) -> None:
    """Write the queries with a row group a block, so that a block is read alone."""
    store.write(TABLE, parquet_bytes(queries, row_group_size=rows_per_block, statistics=False))


@dataclass(frozen=True)
class VectorBlocks(Blocks):
    """Blocks whose parts hold the vectors of their queries (``VECTORS``)."""

    content: ClassVar[str] = VECTOR

    def commit(self, block: str, rows: pa.Table) -> int:
        return super().commit(block, _whole(rows, VECTORS))

    def read(self) -> pa.Table:
        """What became of every query (``VECTORS``), in the order of the plan."""
        parts = [f"{self.folder}/parts/{block}.parquet" for block in sorted(self.done())]
        return pa.concat_tables(
            [VECTORS.empty_table(), *(self.store.read_table(part, VECTORS) for part in parts)]
        )


@dataclass(frozen=True)
class AnswerBlocks(Blocks):
    """Blocks whose answers lie beside them, a file a block (``schema.RECOMMENDATIONS``); a part keeps what became of each query alone."""

    content: ClassVar[str] = ANSWERS

    def commit(self, block: str, rows: pa.Table) -> int:
        """Write the answers and then the outcome, without which a block counts as not done, and both are written again."""
        rows = _whole(rows, ANSWER)
        good = rows.filter(pc.is_null(rows.column("reason")))
        counts = pc.list_value_length(good.column("artist_id")).to_numpy()
        answers = {
            "query": good.column("track_id").take(
                pa.array(np.repeat(np.arange(good.num_rows), counts))
            ),
            "rank": np.concatenate(
                [np.arange(0), *(np.arange(1, count + 1) for count in counts)]
            ).astype(np.int32),
            "artist_id": pc.list_flatten(good.column("artist_id")),
            "similarity": pc.list_flatten(good.column("similarity")),
        }
        content = parquet_bytes(schema.conform(pa.table(answers), schema.RECOMMENDATIONS, ANSWERS))
        self.store.write(f"{ANSWERS}/{block}.parquet", content)
        return len(content) + super().commit(block, rows.drop_columns(["artist_id", "similarity"]))


def _whole(rows: pa.Table, fields: pa.Schema) -> pa.Table:
    """The rows with all columns: a block whose queries were all given up by others than their reader has reasons alone."""
    return pa.concat_tables([fields.empty_table(), rows], promote_options="default")


@dataclass(frozen=True)
class QueryEmbedder:
    """Embeds the queries of a block together: a reader of blocks (``musicrec.extraction.isolation.Reader``).

    Attributes
    ----------
    store
        Holds the queries.
    threads
        How many read audio at the same time.
    """

    recommender: Recommender
    store: Store
    threads: int = 1

    def __call__(self, rows: pa.Table) -> pa.Table:
        queries, vectors, failures = self.embed(rows)
        return pa.table(
            [
                queries.column("item"),
                _lists(pa.array(vectors.ravel()), failures),
                *_reasons(failures),
            ],
            schema=VECTORS,
        )

    def embed(self, rows: pa.Table) -> tuple[pa.Table, np.ndarray, list[Failure | None]]:
        """The queries of a block's rows, their embeddings (N, D), zeros for those that have none, and of each why it has none."""
        recommender = self.recommender.to("cuda" if torch.cuda.is_available() else "cpu")
        queries = self._queries(rows)
        features = _features(
            queries, [name for name in queries.column_names if name not in QUERIES.names]
        )
        given = [as_query(row) for row in queries.select(QUERIES.names).to_pylist()]
        return queries, *recommender.embed_many(given, features, self.threads)

    def _queries(self, rows: pa.Table) -> pa.Table:
        """The queries of a block's rows: a row group of their table has the number of the block."""
        filesystem, path = self.store.locate(TABLE)
        number = int(rows.column("block")[0].as_py().rpartition("-")[2])
        with pyarrow.parquet.ParquetFile(path, filesystem=filesystem) as file:
            queries = file.read_row_group(number)
        return queries.take(
            pc.index_in(rows.column("item"), value_set=queries.column("item").combine_chunks())
        )


@dataclass(frozen=True, kw_only=True)
class Answerer(QueryEmbedder):
    """Answers the queries of a block together: a reader of blocks."""

    neighbours: int

    def __call__(self, rows: pa.Table) -> pa.Table:
        queries, vectors, failures = self.embed(rows)
        artists, similarity = self.recommender.nearest_many(vectors, self.neighbours)
        ids = self.recommender.artists.column("artist_id").combine_chunks()
        lists = [
            _lists(values, failures)
            for values in (ids.take(pa.array(artists.ravel())), pa.array(similarity.ravel()))
        ]
        return pa.table([queries.column("item"), *lists, *_reasons(failures)], schema=ANSWER)


def _lists(values: pa.Array, failures: list[Failure | None]) -> pa.ListArray:
    """As many of the values for each query as for the others; null for one that failed."""
    offsets = np.arange(len(failures) + 1) * (len(values) // len(failures))
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()),
        values,
        mask=pa.array([failure is not None for failure in failures]),
    )


def _reasons(failures: list[Failure | None]) -> list[pa.Array]:
    return [
        pa.array([failure and getattr(failure, name) for failure in failures], pa.string())
        for name in ("reason", "detail")
    ]


def as_query(row: dict[str, Any]) -> Query:
    """A row of ``QUERIES`` as the recommender takes it."""
    return Query(
        audio=row["uri"],
        **{name: row[name] for name in ("artwork", "lyrics", "year", "latitude", "longitude")},
    )


def _features(queries: pa.Table, names: list[str]) -> list[Features | None] | None:
    """What was extracted of each query; None for one of which something was not, and where nothing was."""
    if not names:
        return None
    found: list[Features | None] = [{} for _ in range(queries.num_rows)]
    for name in names:
        places = queries.column(name).to_pylist()
        for row, feature in enumerate(
            read_stored([place and (place["part"], place["row"]) for place in places], name)
        ):
            if feature is None:
                found[row] = None
            elif found[row] is not None:
                found[row][name] = feature
    return found
