from __future__ import annotations

import pyarrow as pa
import pytest

from musicrec import audio, schema
from musicrec.schema import SchemaError, conform

CONTRACT = pa.schema(
    [
        pa.field("track_id", pa.string(), nullable=False),
        pa.field("year", pa.int32()),
        pa.field("vector", pa.list_(pa.float32()), nullable=False),
    ]
)


def table(**columns: object) -> pa.Table:
    return pa.table(
        {"track_id": ["a", "b"], "year": [1791, None], "vector": [[1.0], [2.0]]} | columns
    )


def test_columns_come_out_in_the_contracts_order_and_types() -> None:
    found = conform(
        table(extra=[1, 2]).select(["vector", "extra", "year", "track_id"]), CONTRACT, "t"
    )
    assert found.schema == CONTRACT
    assert found.to_pydict() == {
        "track_id": ["a", "b"],
        "year": [1791, None],
        "vector": [[1.0], [2.0]],
    }


def test_an_absent_nullable_column_is_filled() -> None:
    assert conform(table().drop_columns(["year"]), CONTRACT, "t").column("year").to_pylist() == [
        None,
        None,
    ]


def test_an_absent_column_is_named_with_those_that_are_there() -> None:
    with pytest.raises(
        SchemaError,
        match=r"table 'tracks' lacks the column 'track_id' \(string\); it has year, vector",
    ):
        conform(table().drop_columns(["track_id"]), CONTRACT, "tracks")


def test_missing_values_are_counted() -> None:
    with pytest.raises(SchemaError, match="table 't', column 'track_id' has 1 nulls"):
        conform(table(track_id=["a", None]), CONTRACT, "t")


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"year": ["old", "new"]}, "'year': string cannot be cast to int32"),
        ({"year": [2**40, 1]}, "'year': int64 cannot be cast to int32"),
        (
            {"year": [1791.5, None]},
            "'year': double cannot be cast to int32",
        ),  # a value is never changed silently
        ({"vector": ["a", "b"]}, "'vector': string cannot be cast to list"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(columns: dict[str, object], named: str) -> None:
    with pytest.raises(SchemaError, match=f"table 't', column {named}"):
        conform(table(**columns), CONTRACT, "t")


def test_a_table_of_no_rows_conforms() -> None:
    assert conform(schema.empty(schema.ERRORS), schema.ERRORS, "t").num_rows == 0


def test_a_table_that_conforms_is_unchanged() -> None:
    found = conform(table(), CONTRACT, "t")
    assert conform(found, CONTRACT, "t") == found


def test_metadata_of_a_field_is_the_contracts() -> None:
    contract = pa.schema([pa.field("cell", pa.large_binary(), metadata={"shape": "2"})])
    assert conform(pa.table({"cell": [b"x"]}), contract, "t").schema.field("cell").metadata == {
        b"shape": b"2"
    }


def test_every_reason_of_the_audio_reader_is_in_the_closed_list() -> None:
    assert {*audio.AUDIO_ERRORS} <= {*schema.ERROR_REASONS}
    assert len(set(schema.ERROR_REASONS)) == len(schema.ERROR_REASONS)
