"""The pyarrow schemas of every table: the contract between stages.

A stage reads and writes tables of these schemas. ``conform`` is called at every read and write, so
that a wrong column is reported by name where it arises.

Conventions
-----------
Identifiers are strings. Columns are not nullable unless their schema says so. Vectors are float32
lists.
"""

from __future__ import annotations

import pyarrow as pa


class SchemaError(ValueError):
    """A table that does not match its schema."""


def _field(name: str, kind: pa.DataType, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable)


SPLITS = ("train", "validation", "test")

TRACKS = pa.schema(
    [
        _field("track_id", pa.string()),
        _field("title", pa.string(), nullable=True),
        _field("artist_id", pa.string()),
        _field("artist", pa.string(), nullable=True),
        _field("album_id", pa.string(), nullable=True),
        _field("album", pa.string(), nullable=True),
        _field("year", pa.int32(), nullable=True),
        _field("audio", pa.string()),
        _field("artwork", pa.string(), nullable=True),
        _field("lyrics", pa.string(), nullable=True),
        _field("language", pa.string(), nullable=True),
        _field("genres", pa.list_(pa.string())),
        _field("genre_top", pa.string(), nullable=True),
        _field("split", pa.string()),
    ]
)

ARTISTS = pa.schema(
    [
        _field("artist_id", pa.string()),
        _field("name", pa.string(), nullable=True),
        _field("latitude", pa.float64(), nullable=True),
        _field("longitude", pa.float64(), nullable=True),
        _field("country", pa.string(), nullable=True),
        _field("genres", pa.list_(pa.string())),
        _field("origin", pa.string(), nullable=True),
        _field("birth_year", pa.int32(), nullable=True),
    ]
)

RELATED = pa.schema(
    [
        _field("artist_id", pa.string()),
        _field("related_artist_id", pa.string()),
        _field("rank", pa.int32()),
    ]
)

ERROR_REASONS = (
    # Audio: the same as AUDIO_ERRORS of musicrec.audio
    "not_found",
    "empty",
    "not_audio",
    "truncated",
    "too_short",
    "too_long",
    "unreadable",
    # Artwork
    "not_image",
    "too_large",
    # An image to be classified whose label is missing or unknown
    "unlabelled",
    # A query that lacks an input of the model
    "missing_input",
    # The reading process crashed or exceeded its time limit, or the reader failed unexpectedly
    "killed_worker",
    "timed_out",
    "reader_failed",
)

ERRORS = pa.schema(
    [
        _field("track_id", pa.string()),
        _field("stage", pa.string()),
        _field("reason", pa.string()),
        _field("detail", pa.string(), nullable=True),
    ]
)

PREDICTIONS = pa.schema(
    [
        _field("track_id", pa.string()),
        _field("submodel", pa.string()),
        _field("fold", pa.int32()),
        _field("vector", pa.list_(pa.float32())),
    ]
)

EMBEDDINGS = pa.schema([_field("artist_id", pa.string()), _field("vector", pa.list_(pa.float32()))])

# The genres of a track as indices into a task's list of classes, ascending.
LABELS = pa.schema([_field("track_id", pa.string()), _field("classes", pa.list_(pa.int32()))])

RECOMMENDATIONS = pa.schema(
    [
        _field("query", pa.string()),
        _field("rank", pa.int32()),
        _field("artist_id", pa.string()),
        _field("similarity", pa.float32()),
        _field("prior", pa.float32()),  # popularity's share of the score, -1 to 1
    ]
)

FEATURE_FACTS = (
    _field("track_id", pa.string()),
    _field("audio", pa.string()),  # URI of the file
    _field("duration_seconds", pa.float64()),
    _field("sample_rate", pa.int32()),
    _field("channels", pa.int32()),
    _field("codec", pa.string()),
    _field("silent", pa.bool_()),
    _field("parameters", pa.string()),
)


def conform(table: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    """Return ``table`` with exactly the columns of ``schema``, in its order and types.

    Absent nullable columns are filled with nulls; columns that are not in the schema are dropped.

    Raises
    ------
    SchemaError
        Naming the table, the column and the violation.
    """
    columns = []
    for field in schema:
        index = table.schema.get_field_index(field.name)
        if index < 0:
            if not field.nullable:
                raise SchemaError(
                    f"table '{name}' lacks the column '{field.name}' ({field.type}); "
                    f"it has {', '.join(table.column_names)}"
                )
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table.column(index)
        if column.type != field.type:
            try:
                column = column.cast(field.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise SchemaError(
                    f"table '{name}', column '{field.name}': {column.type} cannot be cast to "
                    f"{field.type}: {error}"
                ) from error
        if column.null_count and not field.nullable:
            raise SchemaError(
                f"table '{name}', column '{field.name}' has {column.null_count} nulls but is not "
                "nullable"
            )
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)


def empty(schema: pa.Schema) -> pa.Table:
    """Return a table without rows."""
    return schema.empty_table()
