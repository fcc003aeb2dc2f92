"""The rules of a catalog's tables.

They run on the raw form (text), so that a file's bad numbers, ids and paths are reported together. Each is a mask over a column; Python
loops only over the rows that break it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.catalog.locations import audio_uri
from musicrec.catalog.tables import (
    PROBLEM_LINES,
    TABLES,
    Problem,
    RawTable,
    Severity,
    limited,
    numbers,
    split_lists,
)
from musicrec.schema import SPLITS
from musicrec.telemetry.redact import PASSWORD

# From the oldest music in notation to beyond any clock that is right: typing errors (19, 20199) and the 0 of tag editors fall outside, and
# the answer does not depend on the day.
YEARS = (900, 2100)
LIMITS = {"latitude": (-90, 90), "longitude": (-180, 180), "rank": (1, 2**31 - 1)}
LONGEST_CELL = 200_000  # bytes; the longest lyrics have about 50,000, and a quote that is not closed takes in the rows that follow


class Inspected:
    """One raw table under inspection, with the problems found so far."""

    def __init__(self, name: str, raw: RawTable) -> None:
        self.name, self.rows, self.columns = name, raw.rows, raw.columns
        self.problems: list[Problem] = []

    def has(self, *columns: str) -> bool:
        """Whether the table has all of these columns."""
        return all(column in self.columns.column_names for column in columns)

    def report(
        self,
        column: str,
        where: np.ndarray | pa.ChunkedArray,
        rule: str,
        fix: str | Callable[[int], str],
        severity: Severity = "error",
    ) -> None:
        """A problem for each row of ``where``, a mask or row indices."""
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

    def say(
        self,
        column: str | None,
        rule: str,
        fix: str,
        value: str | None = None,
        severity: Severity = "error",
    ) -> None:
        """A problem of the table or of a whole column."""
        self.problems.append(Problem(self.name, None, column, value, rule, fix, severity))

    def codes(self, column: str) -> np.ndarray:
        """The column as whole numbers, equal for equal texts, -1 for an empty cell."""
        encoded = self.columns[column].combine_chunks().dictionary_encode()
        return encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)

    def repeated(self, columns: Sequence[str], column: str, rule: str, fix: str) -> None:
        """Report rows whose values in ``columns`` all stand in an earlier row."""
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
            lambda index: f"row {self.rows[first[index]]} has it too: {fix}",
        )


def _first(keys: np.ndarray) -> np.ndarray:
    """For each element, the index of the first one equal to it."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return first[inverse]


def check_columns(table: Inspected, years: tuple[int, int], optional: Sequence[str]) -> None:
    """Columns are known and there, and each cell is what its column holds."""
    schema = TABLES[table.name]
    unknown = [name for name in table.columns.column_names if name not in schema.names]
    near = {
        name: difflib.get_close_matches(name.strip().lower().replace(" ", "_"), schema.names, 1)
        for name in unknown
    }
    for name in unknown:
        fix = (
            f"did you mean '{near[name][0]}'? It is not read"
            if near[name]
            else f"it is not read; known are {', '.join(schema.names)}"
        )
        table.say(name, "unknown column", fix, severity="warning")
    if not len(table.rows):
        table.say(
            None,
            "empty table",
            "it has a header and no rows: add rows",
            severity="warning" if table.name in optional else "error",
        )
    for field in schema:
        name = field.name
        required = not field.nullable and name != "split" and not pa.types.is_list(field.type)
        if not table.has(name):
            if required:
                table.say(
                    name,
                    "missing column",
                    f"add it, or give it this name: the table has {', '.join(table.columns.column_names)}",
                )
            continue
        texts = table.columns[name]
        if required:
            table.report(name, texts.is_null(), "empty cell", "every row needs one")
        long = pc.greater(pc.fill_null(pc.binary_length(texts), 0), LONGEST_CELL)
        table.report(
            name, long, "very long text", "look for a double quote that is not closed", "warning"
        )
        if pa.types.is_string(field.type) and name != "lyrics":
            broken = pc.fill_null(pc.match_substring_regex(texts, r"[\x00-\x1f]"), False)
            fix = "look for a double quote that is not closed before it"
            table.report(
                name, broken, "line break or control sign", fix, "error" if required else "warning"
            )
        elif not pa.types.is_list(field.type) and name != "lyrics":
            whole = pa.types.is_integer(field.type)
            values, wrong = numbers(texts, whole)
            rule, fix = (
                ("not a whole number", "write it as 1998")
                if whole
                else ("not a number", "write it with a decimal point, as 48.85")
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
    """Every track is in a split, every split has tracks, and an artist is in one; or the splits can be made."""
    choices = f"use {', '.join(SPLITS[:-1])} or {SPLITS[-1]}"
    if not tracks.has("split") or tracks.columns["split"].null_count == len(tracks.rows):
        if tracks.has("artist_id") and 0 < (
            count := len(tracks.columns["artist_id"].drop_null().unique())
        ) < len(SPLITS):
            tracks.say(
                "artist_id",
                "too few artists",
                f"there are {count}, and each of the {len(SPLITS)} splits needs one of its own",
            )
        return
    splits = tracks.columns["split"]
    good = pc.is_in(splits, pa.array(SPLITS)).to_numpy()
    tracks.report(
        "split",
        splits.is_null(),
        "empty cell",
        f"{choices}, or leave the whole column empty and the splits are made",
    )
    tracks.report("split", ~good & splits.is_valid().to_numpy(), "unknown split", choices)
    for split in sorted(set(SPLITS) - set(splits.unique().to_pylist())):
        tracks.say(
            "split",
            "no track in a split",
            "put some artists into it, or leave the column out and the splits are made",
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
            return f"here in {here}, in row {tracks.rows[home[index]]} in {there}: put all tracks of an artist into one split"

        tracks.report("artist_id", np.sort(once), "artist in two splits", fix)


def check_files(
    tracks: Inspected,
    column: str,
    root: str,
    allowed_roots: Sequence[str],
    exists: Callable[[str], bool] | None,
) -> None:
    """A column of URIs leads to files that are there, and none leaves the catalog's root."""
    if not tracks.has(column):
        return
    texts = tracks.columns[column]
    backslash = pc.fill_null(pc.match_substring(texts, "\\"), False).to_numpy()
    tracks.report(
        column,
        backslash,
        "backslash in a path",
        "write it relative to the catalog's root with /, as audio/a.mp3",
    )
    passwords = pc.fill_null(pc.match_substring_regex(texts, PASSWORD), False)
    tracks.report(
        column,
        passwords,
        "credentials in a URI",
        "give them by environment variables, a profile or a role",
    )
    homes = [audio_uri(home, "").rstrip("/") + "/" for home in (root, *allowed_roots)]
    dotted = pc.match_substring_regex(texts, r"(^|/)\.\.(/|$)")
    elsewhere = pc.match_substring_regex(texts, r"^/|://")
    for home in homes:
        elsewhere = pc.and_(elsewhere, pc.invert(pc.starts_with(texts, home)))
    suspects = np.flatnonzero(
        pc.fill_null(pc.or_(dotted, elsewhere), False).to_numpy() & ~backslash
    )
    outside = np.array(
        [
            i
            for i in suspects
            if not f"{audio_uri(root, texts[int(i)].as_py())}/".startswith(tuple(homes))
        ],
        np.int64,
    )
    tracks.report(
        column,
        outside,
        "outside the catalog's root",
        f"move the file under {root}, or allow its folder as another root",
    )
    if exists is None:
        return
    inside = np.setdiff1d(np.flatnonzero(texts.is_valid().to_numpy() & ~backslash), outside)
    codes = tracks.codes(column)
    distinct = inside[np.unique(codes[inside], return_index=True)[1]]
    absent = [i for i in distinct if not exists(audio_uri(root, texts[int(i)].as_py()))]
    fix = (
        "the track will be a row of the errors table"
        if column == "audio"
        else "the track is used without artwork"
    )
    tracks.report(
        column,
        np.flatnonzero(np.isin(codes, codes[absent])) if absent else np.arange(0),
        "file not found",
        fix,
        "warning",
    )


def check_genres(tracks: Inspected) -> None:
    """A track's top genre is one of its genres."""
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


def check_artists(artists: Inspected) -> None:
    """An artist has one row and both coordinates or neither."""
    artists.repeated(["artist_id"], "artist_id", "duplicate artist", "keep one row for each artist")
    for column, other in (("latitude", "longitude"), ("longitude", "latitude")):
        if artists.has(column):
            absent = artists.columns[other].is_null().to_numpy() if artists.has(other) else True
            alone = artists.columns[column].is_valid().to_numpy() & absent
            artists.report(column, alone, f"without {other}", "give both or neither")


def check_related(related: Inspected) -> None:
    """A relation and a rank are said once, and no artist is related to itself."""
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
        "the related artists of an artist have ranks 1, 2, 3 and on",
    )
    if related.has("artist_id", "related_artist_id"):
        same = pc.fill_null(
            pc.equal(related.columns["artist_id"], related.columns["related_artist_id"]), False
        )
        related.report(
            "related_artist_id", same, "an artist related to itself", "leave the row out"
        )


def check_between(
    tracks: Inspected | None, artists: Inspected | None, related: Inspected | None
) -> None:
    """The artists of the tracks are known to the other tables."""
    if tracks and artists and tracks.has("artist_id") and artists.has("artist_id"):
        codes = tracks.codes("artist_id")
        known = pc.is_in(
            tracks.columns["artist_id"], artists.columns["artist_id"].combine_chunks()
        ).to_numpy()
        first = np.unique(_first(codes)[~known & (codes >= 0)])
        tracks.report(
            "artist_id",
            first,
            "artist not in artists",
            "a row is added for them, without country and place",
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
        if len(without):
            fix = f"{len(without)} artists with tracks are in no relation, and nothing can be learnt about who is near them"
            related.say(
                None,
                "artists without relations",
                fix,
                ", ".join(without[:3].to_pylist()),
                "warning",
            )
