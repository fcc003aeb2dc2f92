"""Check a catalog's genres: their spelling, and that the top genre is one of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.catalog.rules import Inspected
from musicrec.catalog.tables import LIST_SEPARATOR, split_lists

# What programs write for a missing value, and lists as Python and JSON print them.
PLACEHOLDERS = r"(?i)^(nan|none|null|n/?a|<na>|-|\[\]|\(\)|\{\})$"
PRINTED_LISTS = r"^[\[({].*[\])}]$"


def check_spelling(table: Inspected, column: str) -> None:
    """Warn of cells that look like several genres, or like none, and count as one.

    Some genres have a comma or a slash in their names, so these are suspicious only in a column
    without any semicolon.
    """
    if not table.has(column):
        return
    texts = table.columns[column]
    is_separated = pc.any(pc.match_substring(texts, LIST_SEPARATOR)).as_py()
    several = "write rock;pop: semicolons separate genres"
    kinds = [
        (PLACEHOLDERS, "a placeholder counts as a genre", "leave these cells empty"),
        (PRINTED_LISTS, "a printed list counts as one genre", several),
        (r"\|", "genres separated by | count as one", several),
    ]
    if not is_separated:
        kinds.append((r"[,/]", "a genre with , or /", f"if these are several genres, {several}"))
    rest = texts.drop_null()
    for pattern, rule, fix in kinds:
        matches = pc.match_substring_regex(rest, pattern)
        cells = rest.filter(matches)
        rest = rest.filter(pc.invert(matches))
        if len(cells):
            count = f"{len(cells)} cell{'s' * (len(cells) > 1)}"
            table.report_table(column, f"{rule} ({count})", fix, cells[0].as_py(), "warning")


def check_genres(tracks: Inspected) -> None:
    """Check that a track's top genre is one of its genres."""
    if not tracks.has("genres", "genre_top"):
        return
    lists, top = (
        split_lists(tracks.columns["genres"]).combine_chunks(),
        tracks.columns["genre_top"].combine_chunks(),
    )
    parents = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    same = pc.fill_null(pc.equal(lists.flatten(), top.take(pa.array(parents))), False).to_numpy(
        zero_copy_only=False
    )
    listed = np.bincount(parents, weights=same, minlength=len(tracks.rows)) > 0
    wrong = top.is_valid().to_numpy(zero_copy_only=False) & ~listed
    tracks.report("genre_top", wrong, "not among the genres", "add it to genres", "warning")
