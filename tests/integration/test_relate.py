"""Relations on Ray, in a folder and on S3: from the command line to the table of a catalog."""

from __future__ import annotations

import json
from typing import Any

import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from small_run import run_job_here

from musicrec.storage.store import Store, resolve

LOG = {f"u{n}": ("XYZ" if n % 2 else "XY") for n in range(60)}


def events(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")
    ]


def test_relate(
    places: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store, root = places
    rows = [f"{user},{item}" for user, items in LOG.items() for item in items]
    plays = Store(root)
    plays.write("plays/1.csv", "\n".join(["user,item", *rows, ",X"]).encode())
    monkeypatch.setattr("musicrec.relations.files.SHARD_BYTES", 200)
    monkeypatch.setattr("musicrec.relations.relate.BUCKET_BYTES", 300)
    arguments = ["--plays", f"{root}/plays", "--store", store]
    csv, parquet = f"{root}/related.csv", f"{root}/related.parquet"
    assert run_job_here(monkeypatch, "relate", *arguments, "--out", csv) == 0
    (done,) = (line for line in events(capsys) if line["stage"] == "relate" and "groups" in line)
    assert (done["rows_in"], done["rows_in_errors"], done["groups"]) == (len(rows) + 1, 1, 60)
    assert done["buckets"] > 1
    # The same files and settings: only the other output is written.
    assert run_job_here(monkeypatch, "relate", *arguments, "--out", parquet) == 0
    assert [line["event"] for line in events(capsys)] == ["written", "done"]
    assert run_job_here(monkeypatch, "relate", *arguments, "--out", csv) == 0
    assert events(capsys)[0]["event"] == "already complete, nothing to do"
    # Cosines: XY 60 / 60, XZ and YZ 30 / sqrt(60 x 30).
    expected = {("X", "Y", 1), ("X", "Z", 2), ("Y", "X", 1), ("Y", "Z", 2)}
    for out in (csv, parquet):
        filesystem, path = resolve(out)
        with filesystem.open_input_file(path) as stream:
            read = pyarrow.csv.read_csv if out == csv else pq.read_table
            table = read(stream)
        assert table.column_names == ["artist_id", "related_artist_id", "rank"]
        pairs = {tuple(row.values()) for row in table.to_pylist()}
        assert pairs >= expected
        assert {pair[:2] for pair in pairs - expected} == {("Z", "X"), ("Z", "Y")}


def test_a_fault_on_a_worker_is_one_line(
    places: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store, root = places
    for number in range(2):
        Store(root).write(f"plays/{number}/artist_similarity.db", b"no database")
    code = run_job_here(
        monkeypatch, "relate", "--plays", f"{root}/plays", "--store", store, "--form", "msd"
    )
    assert code == 2
    errors = capsys.readouterr().err.splitlines()
    assert len([line for line in errors if line.startswith("error: ")]) == 1
    assert "is not readable as SQLite" in errors[0]
