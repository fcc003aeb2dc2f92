from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from musicrec.studies import counts


def test_every_count_is_printed_and_agrees() -> None:
    text = io.StringIO()
    assert counts.print_counts(Console(file=text, width=80))
    printed = text.getvalue()
    rows = [line.split() for line in printed.splitlines()]
    for row in counts.parameter_counts():
        assert [str(row.table), row.published.model] in [line[:2] for line in rows]
    assert ["6", "lyrics", "800", "108,755,200", "108,755,200", "agrees"] in rows
    assert "mel.time_freq_avg of table 5 is misprinted as 190,416" in printed
    assert "61 of 61 parameter counts agree" in printed


def test_a_difference_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    table = counts.TABLES[4]
    wrong = replace(
        table,
        rows=(replace(table.rows[0], parameters=table.rows[0].parameters + 3), *table.rows[1:]),
    )
    monkeypatch.setitem(counts.TABLES, 4, wrong)
    text = io.StringIO()
    assert not counts.print_counts(Console(file=text, width=100))
    assert "differs by -3" in text.getvalue()
    assert "60 of 61 parameter counts agree" in text.getvalue()


def test_nothing_compared_is_no_agreement() -> None:
    assert not counts.all_agree([])


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(ValueError, match="unknown architecture 'resnet'"):
        counts.model_parameters("mel.resnet", 16)
