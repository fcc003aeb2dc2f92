"""The CSV of errors: what a spreadsheet would run is text."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow as pa

from musicrec import schema
from musicrec.inspection.errors import ERRORS_FILE, show_errors
from musicrec.storage.store import Store

CELLS = ["=1+2", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"]


def test_no_cell_of_the_errors_csv_is_a_formula(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    stage = store.stage("extract", "0123")
    rows = [
        {"track_id": cell, "stage": "extract", "reason": "missing", "detail": cell}
        for cell in [*CELLS, "a=1", "line\n=1"]
    ]
    store.write_table(
        stage.path(ERRORS_FILE), pa.Table.from_pylist(rows, schema=schema.ERRORS), schema.ERRORS
    )
    stage.finish({"finished": 1.0})
    show_errors(store, 1, str(tmp_path / "errors.csv"))
    with (tmp_path / "errors.csv").open(newline="") as stream:
        written = list(csv.DictReader(stream))
    assert [row["track_id"] for row in written] == [
        *(f"'{cell}" for cell in CELLS),
        "a=1",
        "line\n=1",
    ]
    assert [row["detail"] for row in written] == [row["track_id"] for row in written]
