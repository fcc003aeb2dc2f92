"""The published values are self-consistent; a typing error would break that."""

from __future__ import annotations

import pytest

from musicrec.evaluation.thesis import TABLE_3, TABLE_5, TABLE_6, TABLES


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: f"table {table.number}")
def test_rows_are_whole(table) -> None:
    assert [TABLES[table.number], len({row.model for row in table.rows})] == [
        table,
        len(table.rows),
    ]
    for row in table.rows:
        assert len(row.values) == len(table.metrics)
        assert all(0 < value < 1 for value in row.values)


def test_the_tables_have_the_rows_of_the_thesis() -> None:
    assert {number: len(table.rows) for number, table in TABLES.items()} == {
        3: 27,
        4: 4,
        5: 13,
        6: 18,
    }
    assert max(TABLE_3.rows, key=lambda row: row.values).model == "genre_ensemble"
    assert min(TABLE_5.rows, key=lambda row: row.values).model == "all_averaged"
    assert max(TABLE_6.rows, key=lambda row: row.values).model == "recommendation"


@pytest.mark.parametrize("table", [TABLE_5, TABLE_6], ids=["table 5", "table 6"])
def test_an_average_has_the_parameters_of_its_two_submodels(table) -> None:
    averages = [row for row in table.rows if row.model.endswith(".time_freq_avg")]
    assert len(averages) >= 2
    for row in averages:
        feature = row.model.split(".")[0]
        assert (
            row.parameters
            == table.row(f"{feature}.time").parameters + table.row(f"{feature}.freq").parameters
        )


def test_a_model_that_a_table_lacks_is_named_with_those_it_has() -> None:
    with pytest.raises(
        KeyError, match=r"table 5 has no row 'mel.rnn': use one of stft_halved.time_freq_avg"
    ):
        TABLE_5.row("mel.rnn")
