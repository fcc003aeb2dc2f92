"""Keep many queries as one table, and embed or answer them block by block on the workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from musicrec import schema
from musicrec.catalog.locations import audio_uris
from musicrec.catalog.tables import Catalog
from musicrec.config.inputs import FIELDS, RECORDING, fields_of_kind, fields_of_table
from musicrec.extraction.manifest import OUTCOME_FIELDS, Blocks
from musicrec.extraction.rows import failed_rows
from musicrec.features.reader import read_stored
from musicrec.serving.query import Query
from musicrec.serving.recommender import Failure, Features, Recommender
from musicrec.storage.parquet import StoredParquet, parquet_bytes
from musicrec.storage.record import DamagedError
from musicrec.storage.store import Store

# One row per track; the blocks are planned from ``item`` and ``uri`` (of its audio).
QUERIES = pa.schema(
    [
        pa.field("item", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        *(
            pa.field(name, pa.float64() if field.kind == "number" else pa.string())
            for name, field in FIELDS.items()
            if name != RECORDING
        ),
    ]
)
# The place of a query's extracted feature: one such column per feature, in the queries' order.
PLACES = pa.schema([("part", pa.string()), ("row", pa.int32())])
TABLE, ANSWERS, VECTOR = "queries.parquet", "recommendations", "vector"
# The outcome of a query that was embedded but not answered.
VECTORS = pa.schema([("track_id", pa.string()), (VECTOR, pa.list_(pa.float32())), *OUTCOME_FIELDS])
# The outcome of a query that was answered, before its answers are written row by row.
ANSWER = pa.schema(
    [
        ("track_id", pa.string()),
        ("artist_id", pa.list_(pa.string())),
        ("similarity", pa.list_(pa.float32())),
        ("prior", pa.list_(pa.float32())),
        *OUTCOME_FIELDS,
    ]
)


def of_catalog(catalog: Catalog) -> pa.Table:
    """Return a query for every track of a catalog, with all inputs that the catalog has."""
    tracks, artists = catalog.tracks, catalog.artists
    owner = pc.index_in(
        tracks.column("artist_id"), value_set=artists.column("artist_id").combine_chunks()
    )
    columns = {"item": tracks.column("track_id")}
    columns |= {name: tracks.column(name) for name in fields_of_table("tracks", "text", "number")}
    columns |= {
        _column(name): audio_uris(catalog.root, tracks.column(name))
        for name in fields_of_kind("file")
    }
    of_artist = fields_of_table("artists", "text", "number")
    columns |= {name: artists.column(name).take(owner) for name in of_artist}
    return schema.conform(pa.table(columns), QUERIES, "queries")


def _column(field: str) -> str:
    """Return the column of ``QUERIES`` that holds a field of a query."""
    return "uri" if field == RECORDING else field


def with_places(queries: pa.Table, index: pa.Table, features: list[str]) -> pa.Table:
    """Append a column per feature with its place (``PLACES``; null if it was not extracted)."""
    stored = pc.unique(index.column("modality")).to_pylist()
    for feature in features:
        modality = "stft" if feature == "stft_halved" and feature not in stored else feature
        places = index.filter(pc.equal(index.column("modality"), modality))
        rows = pc.index_in(
            queries.column("item"), value_set=places.column("track_id").combine_chunks()
        ).combine_chunks()
        parts = [places.column(name).combine_chunks().take(rows) for name in PLACES.names]
        queries = queries.append_column(
            feature, pa.StructArray.from_arrays(parts, fields=list(PLACES), mask=rows.is_null())
        )
    return queries


def write_queries(store: Store, queries: pa.Table, rows_per_block: int) -> None:
    """Write the queries with one row group per block, so that a block can be read by itself."""
    store.write(TABLE, parquet_bytes(queries, row_group_size=rows_per_block, statistics=False))


@dataclass(frozen=True)
class VectorBlocks(Blocks):
    """Blocks whose parts hold the vectors of their queries (``VECTORS``)."""

    content: ClassVar[str] = VECTOR

    def read(self) -> pa.Table:
        """Return the outcome of every query (``VECTORS``), in the order of the plan."""
        parts = [f"{self.folder}/parts/{block}.parquet" for block in sorted(self.done())]
        return pa.concat_tables(
            [VECTORS.empty_table(), *(self.store.read_table(part, VECTORS) for part in parts)]
        )


@dataclass(frozen=True)
class AnswerBlocks(Blocks):
    """Blocks whose answers are in separate files, one per block (``schema.RECOMMENDATIONS``).

    A part holds only the outcome of each query.
    """

    content: ClassVar[str] = ANSWERS

    def commit(self, block: str, rows: pa.Table) -> int:
        """Write the answers and then the outcomes, and return the number of bytes.

        A block without outcomes counts as not done, and both are written again.
        """
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
            "prior": pc.list_flatten(good.column("prior")),
        }
        content = parquet_bytes(schema.conform(pa.table(answers), schema.RECOMMENDATIONS, ANSWERS))
        self.store.write(f"{ANSWERS}/{block}.parquet", content)
        return len(content) + super().commit(
            block, rows.drop_columns(["artist_id", "similarity", "prior"])
        )


@dataclass(frozen=True)
class QueryEmbedder:
    """Embed the queries of a block as one batch.

    It is a reader of blocks (``musicrec.extraction.isolation.Reader``).

    Attributes
    ----------
    store
        Holds the queries.
    threads
        How many threads read audio at the same time.
    """

    outcome: ClassVar[pa.Schema] = VECTORS

    recommender: Recommender
    store: Store
    threads: int = 1

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return the outcomes of a block's rows (``VECTORS``)."""
        queries, vectors, failures = self.embed(rows)
        return pa.table(
            [
                queries.column("item"),
                _lists(pa.array(vectors.ravel()), failures),
                *_reasons(failures),
            ],
            schema=VECTORS,
        )

    def failed(self, rows: pa.Table, reason: str, detail: str) -> pa.Table:
        """Return a block's rows as failed (``outcome``)."""
        return failed_rows(rows, self.outcome, reason, detail)

    def embed(self, rows: pa.Table) -> tuple[pa.Table, np.ndarray, list[Failure | None]]:
        """Return the queries of a block's rows, their embeddings (N, D) and their failures.

        A failed query has a row of zeros; the failure of the others is None.
        """
        recommender = self.recommender.to("cuda" if torch.cuda.is_available() else "cpu")
        queries = self._queries(rows)
        features = _features(
            queries, [name for name in queries.column_names if name not in QUERIES.names]
        )
        given = [as_query(row) for row in queries.select(QUERIES.names).to_pylist()]
        return queries, *recommender.embed_many(given, features, self.threads)

    def _queries(self, rows: pa.Table) -> pa.Table:
        """Read the queries of a block's rows; their row group has the number of the block."""
        number = int(rows.column("block")[0].as_py().rpartition("-")[2])
        try:
            with StoredParquet(self.store, TABLE) as file:
                queries = file.read_row_group(number)
        except DamagedError:
            self.store.remove(TABLE)  # the next run writes it again
            raise
        return queries.take(
            pc.index_in(rows.column("item"), value_set=queries.column("item").combine_chunks())
        )


@dataclass(frozen=True, kw_only=True)
class Answerer(QueryEmbedder):
    """Answer the queries of a block as one batch; a reader of blocks."""

    outcome: ClassVar[pa.Schema] = ANSWER

    neighbours: int
    popularity: bool = True

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return the outcomes of a block's rows (``ANSWER``)."""
        queries, vectors, failures = self.embed(rows)
        ranked = self.recommender.nearest_many(vectors, self.neighbours, self.popularity)
        ids = self.recommender.artists.column("artist_id").combine_chunks()
        lists = [
            _lists(values, failures)
            for values in (
                ids.take(pa.array(ranked.rows.ravel())),
                pa.array(ranked.similarity.ravel()),
                pa.array(ranked.prior.ravel()),
            )
        ]
        return pa.table([queries.column("item"), *lists, *_reasons(failures)], schema=ANSWER)


def _lists(values: pa.Array, failures: list[Failure | None]) -> pa.ListArray:
    """Divide the values equally among the queries; null for a query that failed."""
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
    """Return a row of ``QUERIES`` as a query of the recommender."""
    return Query(**{name: row[_column(name)] for name in FIELDS})


def _features(queries: pa.Table, names: list[str]) -> list[Features | None] | None:
    """Read the stored features of each query; None for a query that lacks one of them.

    Returns None if the queries have no column of places.
    """
    if not names:
        return None
    stored: list[Features | None] = [{} for _ in range(queries.num_rows)]
    for name in names:
        places = queries.column(name).to_pylist()
        try:
            features = read_stored([p and (p["part"], p["row"]) for p in places], name)
        except DamagedError:  # named by now; the recordings are read instead
            features = [None] * queries.num_rows
        for row, feature in enumerate(features):
            if feature is None:
                stored[row] = None
            elif stored[row] is not None:
                stored[row][name] = feature
    return stored
