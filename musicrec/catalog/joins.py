"""Check that tables name the same artists, and that enough of them are test artists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from musicrec.catalog.tables import Problem

if TYPE_CHECKING:
    from musicrec.catalog.rules import Inspected

MINIMUM_TEST_ARTISTS = 10  # a mean over fewer says nothing about another catalog or model


def no_common_artist(tracks: Inspected, other: Inspected) -> tuple[str, str]:
    """Return the rule and the fix of a problem: no artist of the tracks is in another table.

    The rule shows an id of each table, if possible two spellings of the same one.
    """
    names = (column for column in ("artist_id", "related_artist_id") if other.has(column))
    theirs = pa.chunked_array(
        [chunk for column in names for chunk in other.columns[column].chunks], pa.string()
    )
    spellings = {_plain(name): name for name in theirs.drop_null().unique().to_pylist()}
    mine = tracks.columns["artist_id"].drop_null().unique().to_pylist()
    same = next((name for name in mine if _plain(name) in spellings), mine[0])
    shown = spellings.get(_plain(same), next(iter(spellings.values()), ""))
    return (
        f'no artist of tracks.csv is in {other.name}.csv: "{same}" in tracks, '
        f'"{shown}" in {other.name}',
        "write the ids the same way in both tables (a table library that found an empty cell "
        "writes 0.0 for 0)",
    )


def _plain(name: str) -> str:
    """Return an id without spaces around it, upper case, leading zeros and a trailing ".0"."""
    return name.strip().lower().removesuffix(".0").lstrip("0") or "0"


def check_test_artists(artist_ids: pa.ChunkedArray, splits: pa.ChunkedArray) -> list[Problem]:
    """Warn if the test split has so few artists that no metric means anything."""
    tests = artist_ids.filter(pc.equal(splits, "test"))
    artists = len(tests.drop_null().unique())
    if artists >= MINIMUM_TEST_ARTISTS:
        return []
    count = "1 test artist" if artists == 1 else f"{artists} test artists"
    rule = f"{count}: metrics mean nothing"
    fix = f"give at least {MINIMUM_TEST_ARTISTS} artists the split test"
    return [Problem("tracks", None, "split", None, rule, fix, "warning")]
