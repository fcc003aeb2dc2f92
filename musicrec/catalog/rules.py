"""Define the rules of a catalog's tables.

They apply to the raw form (text), so that bad numbers, ids and paths of a file are reported
together. Each rule is a mask over a column; Python loops only over the rows that violate it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.catalog.joins import no_common_artist
from musicrec.catalog.tables import (
    PROBLEM_LINES,
    TABLES,
    Problem,
    RawTable,
    Severity,
    limited,
    numbers,
)
from musicrec.config.names import LATITUDES, LONGITUDES
from musicrec.schema import SPLITS

LIMITS = {"latitude": LATITUDES, "longitude": LONGITUDES, "rank": (1, 2**31 - 1)}
# Bytes. The longest lyrics have about 50,000; an unclosed quote swallows the rows that follow.
LONGEST_CELL = 200_000


class Inspected:
    """One raw table being checked, and the problems collected."""

    def __init__(self, name: str, raw: RawTable) -> None:
        self.name, self.rows, self.columns = name, raw.rows, raw.columns
        self.problems: list[Problem] = []

    def has(self, *columns: str) -> bool:
        """Return whether the table has all of these columns."""
        return all(column in self.columns.column_names for column in columns)

    def report(
        self,
        column: str,
        where: np.ndarray | pa.ChunkedArray,
        rule: str,
        fix: str | Callable[[int], str],
        severity: Severity = "error",
    ) -> None:
        """Report a problem for each row of ``where``, a mask or row indices."""
        where = np.asarray(where)
        indices = np.flatnonzero(where) if where.dtype == bool else where
        shown = []
        for index in map(int, indices[:PROBLEM_LINES]):
            value = self.columns[column][index].as_py()
            advice = fix if isinstance(fix, str) else fix(index)
            shown.append(
                Problem(self.name, int(self.rows[index]), column, value, rule, advice, severity)
            )
        self.problems += limited(shown, len(indices))

    def report_table(
        self,
        column: str | None,
        rule: str,
        fix: str,
        value: str | None = None,
        severity: Severity = "error",
    ) -> None:
        """Report a problem of the table or of a whole column."""
        self.problems.append(Problem(self.name, None, column, value, rule, fix, severity))

    def codes(self, column: str) -> np.ndarray:
        """Encode the column as integers, equal for equal texts, -1 for an empty cell."""
        encoded = self.columns[column].combine_chunks().dictionary_encode()
        return encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)

    def repeated(self, columns: Sequence[str], column: str, rule: str, fix: str) -> None:
        """Report rows whose values in ``columns`` all occur in an earlier row."""
        if not self.has(*columns):
            return
        keys, valid = np.zeros(len(self.rows), np.int64), np.ones(len(self.rows), bool)
        for name in columns:
            codes = self.codes(name)
            keys, valid = keys * (codes.max(initial=0) + 1) + codes, valid & (codes >= 0)
        first = _first(keys)
        self.report(
            column,
            valid & (first != np.arange(len(keys))),
            rule,
            lambda index: f"row {self.rows[first[index]]} has the same value: {fix}",
        )


def _first(keys: np.ndarray) -> np.ndarray:
    """Return, for each element, the index of the first element equal to it."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return first[inverse]


def check_columns(table: Inspected, years: tuple[int, int], optional: Sequence[str]) -> None:
    """Check that columns are known and present, and that each cell fits its column."""
    schema = TABLES[table.name]
    unknown = [name for name in table.columns.column_names if name not in schema.names]
    near = {
        name: difflib.get_close_matches(name.strip().lower().replace(" ", "_"), schema.names, 1)
        for name in unknown
    }
    for name in unknown:
        fix = (
            f"did you mean '{near[name][0]}'? The column is ignored"
            if near[name]
            else f"it is ignored; known columns are {', '.join(schema.names)}"
        )
        table.report_table(name, "unknown column", fix, severity="warning")
    if not len(table.rows):
        table.report_table(
            None,
            "empty table",
            "it has a header but no rows: add rows",
            severity="warning" if table.name in optional else "error",
        )
    for field in schema:
        name = field.name
        required = not field.nullable and name != "split" and not pa.types.is_list(field.type)
        if not table.has(name):
            if required:
                table.report_table(
                    name,
                    "missing column",
                    "add it, or rename a column: the table has "
                    f"{', '.join(table.columns.column_names)}",
                )
            continue
        texts = table.columns[name]
        if required:
            table.report(name, texts.is_null(), "empty cell", "every row needs one")
        long = pc.greater(pc.fill_null(pc.binary_length(texts), 0), LONGEST_CELL)
        table.report(name, long, "very long text", "look for an unclosed double quote", "warning")
        if pa.types.is_string(field.type) and name != "lyrics":
            broken = pc.fill_null(pc.match_substring_regex(texts, r"[\x00-\x1f]"), False)
            fix = "look for an unclosed double quote before it"
            table.report(
                name,
                broken,
                "line break or control character",
                fix,
                "error" if required else "warning",
            )
        elif not pa.types.is_list(field.type) and name != "lyrics":
            whole = pa.types.is_integer(field.type)
            values, wrong = numbers(texts, whole)
            rule, fix = (
                ("not a whole number", "write it as 1998")
                if whole
                else ("not a number", "write it with a decimal point, for example 48.85")
            )
            table.report(
                name, wrong, rule, fix + (" (or leave it empty)" if field.nullable else "")
            )
            low, high = LIMITS.get(name, years)
            fix = f"it must be from {low} to {high}" + (
                " (leave it empty if unknown)" if field.nullable else ""
            )
            table.report(name, (values < low) | (values > high), "out of range", fix)


def check_splits(tracks: Inspected) -> None:
    """Check the split column.

    Every track is in a split, every split has tracks, and an artist is in one split; or the splits
    can be made.
    """
    choices = f"use {', '.join(SPLITS[:-1])} or {SPLITS[-1]}"
    if not tracks.has("split") or tracks.columns["split"].null_count == len(tracks.rows):
        if tracks.has("artist_id") and 0 < (
            count := len(tracks.columns["artist_id"].drop_null().unique())
        ) < len(SPLITS):
            tracks.report_table(
                "artist_id",
                "too few artists",
                f"there are {count}; each of the {len(SPLITS)} splits needs at least one",
            )
        return
    splits = tracks.columns["split"]
    good = pc.is_in(splits, pa.array(SPLITS)).to_numpy()
    tracks.report(
        "split",
        splits.is_null(),
        "empty cell",
        f"{choices}, or leave the whole column empty to have splits made",
    )
    tracks.report("split", ~good & splits.is_valid().to_numpy(), "unknown split", choices)
    for split in sorted(set(SPLITS) - set(splits.unique().to_pylist())):
        tracks.report_table(
            "split",
            "no track in a split",
            "assign some artists to it, or omit the column to have splits made",
            split,
        )
    if tracks.has("artist_id"):
        artist, split_code = tracks.codes("artist_id"), tracks.codes("split")
        usable = np.flatnonzero(good & (artist >= 0))
        home = np.arange(len(artist))
        home[usable] = usable[_first(artist[usable])]
        moved = np.flatnonzero(split_code != split_code[home])
        once = moved[np.unique(artist[moved], return_index=True)[1]]

        def fix(index: int) -> str:
            here, there = splits[index].as_py(), splits[home[index]].as_py()
            return (
                f"{here} here, {there} in row {tracks.rows[home[index]]}: "
                "assign all tracks of an artist to one split"
            )

        tracks.report("artist_id", np.sort(once), "artist in two splits", fix)


def check_artists(artists: Inspected) -> None:
    """Check that an artist has one row, and both coordinates or neither."""
    artists.repeated(["artist_id"], "artist_id", "duplicate artist", "keep one row for each artist")
    for column, other in (("latitude", "longitude"), ("longitude", "latitude")):
        if artists.has(column):
            absent = artists.columns[other].is_null().to_numpy() if artists.has(other) else True
            unpaired = artists.columns[column].is_valid().to_numpy() & absent
            artists.report(column, unpaired, f"without {other}", "give both or neither")


def check_related(related: Inspected) -> None:
    """Check that relations and ranks are unique, and that no artist is related to itself."""
    related.repeated(
        ["artist_id", "related_artist_id"],
        "related_artist_id",
        "duplicate relation",
        "keep one of the two",
    )
    related.repeated(
        ["artist_id", "rank"],
        "rank",
        "duplicate rank",
        "number an artist's related artists 1, 2, 3, ...",
    )
    if related.has("artist_id", "related_artist_id"):
        same = pc.fill_null(
            pc.equal(related.columns["artist_id"], related.columns["related_artist_id"]), False
        )
        related.report("related_artist_id", same, "an artist related to itself", "remove the row")


def check_between(
    tracks: Inspected | None, artists: Inspected | None, related: Inspected | None
) -> None:
    """Check that the artists of the tracks occur in the other tables."""
    if tracks and artists and tracks.has("artist_id") and artists.has("artist_id"):
        codes = tracks.codes("artist_id")
        listed = pc.is_in(
            tracks.columns["artist_id"], artists.columns["artist_id"].combine_chunks()
        ).to_numpy()
        first = np.unique(_first(codes)[~listed & (codes >= 0)])
        if len(first) and len(artists.rows) and not listed.any():
            tracks.report_table("artist_id", *no_common_artist(tracks, artists))
        else:
            tracks.report(
                "artist_id",
                first,
                "artist not in artists",
                "a row is added, without country and location",
                "warning",
            )
    if (
        tracks
        and related
        and tracks.has("artist_id")
        and related.has("artist_id", "related_artist_id")
    ):
        mentioned = [
            related.columns[column].combine_chunks()
            for column in ("artist_id", "related_artist_id")
        ]
        names = tracks.columns["artist_id"].drop_null().unique()
        without = names.filter(pc.invert(pc.is_in(names, pa.concat_arrays(mentioned))))
        if len(without) and len(without) == len(names) and len(related.rows):
            tracks.report_table("artist_id", *no_common_artist(tracks, related))
        elif len(without):
            fix = (
                f"{len(without)} artists with tracks are in no relation; "
                "their neighbours cannot be learned"
            )
            related.report_table(
                None,
                "artists without relations",
                fix,
                ", ".join(without[:3].to_pylist()),
                "warning",
            )
