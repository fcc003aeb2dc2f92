"""Typical faults, each a line that names the thing, its value and the fix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from musicrec.config.errors import UserError
from musicrec.config.jobs import RelateConfig
from musicrec.config.sections import RelationsSettings
from musicrec.relations.job import relate_job
from musicrec.relations.relate import Related

Write = Callable[[Path], Any]


def text(content: str | bytes, name: str = "plays.csv") -> Write:
    encoded = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(encoded)


def parquet(folder: Path) -> None:
    pq.write_table(pa.table({"user": ["a"], "item": [{"x": 1}]}), folder / "plays.parquet")


PLAYS = "user,item\na,X\nb,X\n"
FAULTS: dict[str, tuple[Write, str, dict[str, Any], str]] = {
    "no such location": (lambda folder: folder.rmdir(), "table", {}, "there is no such file"),
    "no file of the form": (text(PLAYS), "listenbrainz", {}, "no file with content is named *.lis"),
    "an empty file": (text(""), "table", {}, "no file with content is named *.csv, *.parquet"),
    "a column of another name": (
        text("users,item\na,X\n"),
        "table",
        {},
        "has no column 'user' (did you mean 'users'?); it has users, item. Name the column with "
        "--relations.user-column",
    ),
    "semicolons": (text("user;item\na;X\n"), "table", {}, "save it with commas between the cells"),
    "no times": (
        text(PLAYS),
        "table",
        {"group": "session"},
        "has no column 'time'",
    ),
    "rows of other cells": (
        text("user,item\na,X,1\nb,X,2\n"),
        "table",
        {},
        "2 of 2 rows are bad (wrong_cells 2), more than relations.maximum_failed_share = 0.05",
    ),
    "no times that can be read": (
        text("user,item,time\na,X,yesterday\na,Y,\n"),
        "table",
        {"group": "session"},
        "2 of 2 rows are bad (not_a_time 2)",
    ),
    "Latin-1": (
        text("user,item\na,Bj\xf6rk\n".encode("latin-1")),
        "table",
        {},
        "1 of 1 rows are bad (not_utf8 1)",
    ),
    "UTF-16": (text("user,item\na,X\n".encode("utf-16")), "table", {}, "is not UTF-8"),
    "only a header": (text("user,item\n"), "table", {}, "no row below their header"),
    "nothing in common": (
        text("user,item\na,X\nb,Y\n"),
        "table",
        {},
        "no two of 0 items occur together in 2 groups: give more plays, or lower relations.minimum",
    ),
    "a broken Parquet file": (
        text("PAR1....", "plays.parquet"), "table", {}, "is not readable as Parquet"
    ),
    "a column of structs": (parquet, "table", {}, "column 'item' is struct<x: int64>: write it as"),
    "a broken archive": (text(b"\x1f\x8bno", "p.csv.gz"), "table", {}, "cannot be decompressed"),
    "no database": (text("text", "artist_similarity.db"), "msd", {}, "is not readable as SQLite"),
    "no artists in the log": (
        text("user\tsong\ttimestamp\na\tX\t1\n", "listening_history.csv"),
        "music4all",
        {},
        "form music4all has track by id only: choose one of these, or name a table of tracks with "
        "--relations.tracks",
    ),
    "no table of tracks": (
        text(PLAYS),
        "table",
        {"tracks": "nowhere.csv"},
        "--relations.tracks nowhere.csv: there is no such file",
    ),
    "sessions of similarities": (
        text("{}", "a.jsonl"), "connections", {"group": "session"}, "has published similarities"
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_one_line(
    fault: str, tmp_path: Path, related: Callable[..., Related]
) -> None:
    write, form, settings, line = FAULTS[fault]
    folder = tmp_path / "plays"
    folder.mkdir()
    write(folder)
    with pytest.raises(UserError) as raised:
        related(folder, form, **settings)
    assert line in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"plays": ""}, "--plays is empty"),
        ({"plays": "p.csv", "out": "related.txt"}, "name a file that ends in .csv or .parquet"),
        ({"plays": "s3://key:secret@bucket/p.csv"}, "give credentials by environment"),
    ],
)
def test_wrong_options_are_one_line(options: dict[str, str], line: str) -> None:
    with pytest.raises(UserError, match=line) as raised:
        relate_job(RelateConfig(**options, relations=RelationsSettings()))
    assert "secret" not in str(raised.value)
