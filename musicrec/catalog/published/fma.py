"""Read the FMA data set as published.

Defferrard, Benzi, Vandergheynst and Bresson, "FMA: A Dataset for Music Analysis", ISMIR 2017.
Layout under the catalog's root::

    fma_metadata/tracks.csv      three header rows: group (track, set, ...), name, track_id
    fma_metadata/genres.csv      genre_id, #tracks, parent, title, top_level
    fma_medium/000/000002.mp3    the clips of a subset; full-length recordings in fma_full

The published subsets and splits are kept. Whether a clip exists, is complete and is long enough is
not checked here: extraction does that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from musicrec.catalog.published.fma_tables import FmaTable, read_published
from musicrec.catalog.rules import LIMITS
from musicrec.catalog.tables import (
    LIST_SEPARATOR,
    Catalog,
    CatalogError,
    Problem,
    RawCatalog,
    RawTable,
    typed,
)
from musicrec.catalog.validate import validate
from musicrec.config.names import YEARS
from musicrec.schema import RELATED

SUBSETS = ("small", "medium", "large", "full")  # each includes the previous ones
SPLITS = {"training": "train", "validation": "validation", "test": "test"}
WITH_TOP_GENRE = ("small", "medium")  # every track of these has one by construction
TRACK_COLUMNS = (
    *(
        "set.subset",
        "set.split",
        "track.genre_top",
        "track.genres_all",
        "track.title",
        "track.language_code",
    ),
    *(
        "album.id",
        "album.title",
        "album.date_released",
        "artist.id",
        "artist.name",
        "artist.latitude",
        "artist.longitude",
    ),
)
NO_ALBUM = "-1"


def read_fma(
    root: str,
    filesystem: tuple[fs.FileSystem, str],
    subset: str,
    *,
    exists: Callable[[str], bool] | None = None,
    allowed_roots: Sequence[str] = (),
) -> tuple[Catalog, list[Problem]]:
    """Read the tracks of a subset and of those inside it, and the warnings.

    The published splits are kept.

    The data set of Whitell 2019, Tables 3 and 5. ``genres`` are the titles of ``genres_all``,
    ``year`` is the album's year of release; there are no relations. A malformed date or location is
    a warning and left empty; a malformed id, genre, subset or split is an error.

    Parameters
    ----------
    exists
        Called with the URI of each clip (see ``validate``); None skips the check.
    allowed_roots
        Locations that links in the folder may lead to.

    Raises
    ------
    CatalogError
        A table is missing or unreadable, or a rule of severity "error" is violated; it carries all
        problems.
    OSError
        The storage does not answer.
    """
    tracks = read_published(
        filesystem, "tracks", "fma_metadata/tracks.csv", "track_id", TRACK_COLUMNS, header_rows=3
    )
    genres = read_published(
        filesystem,
        "genres",
        "fma_metadata/genres.csv",
        "genre_id",
        ("parent", "title"),
        header_rows=1,
    )
    problems = [*tracks.problems, *genres.problems]
    if any(
        problem.rule in ("missing table", "not readable", "missing column") for problem in problems
    ):
        raise CatalogError(problems)
    titles = _genre_names(genres)
    tracks = _subset(tracks, subset)
    raw = {"tracks": _track_rows(tracks, titles, subset)}
    raw |= {
        "artists": _artist_rows(tracks, raw["tracks"]),
        "related": RawTable(pa.table({}), np.arange(0)),
    }
    # Empty cells were reported above by their published names. Published results depend on the
    # published splits: an artist in two of them is a warning, not an error.
    violations = [
        replace(problem, severity="warning") if problem.rule == "artist in two splits" else problem
        for problem in validate(RawCatalog(root, raw), exists=exists, allowed_roots=allowed_roots)
        if problem.rule != "empty cell"
    ]
    problems = [*tracks.problems, *genres.problems, *violations]
    if any(problem.severity == "error" for problem in problems):
        raise CatalogError(problems)
    return Catalog(
        root,
        typed(raw["tracks"], "tracks"),
        typed(raw["artists"], "artists"),
        RELATED.empty_table(),
    ), problems


def _genre_names(genres: FmaTable) -> dict[str, tuple[str, bool]]:
    """Map a genre id to its title and whether it is a top genre.

    The id is appended to a title that another genre has too.
    """
    ids, _ = genres.whole_numbers("genre_id")
    titles = genres.columns["title"]
    genres.report("title", titles.is_null(), "empty cell", "every genre needs a title")
    has_separator = pc.fill_null(pc.match_substring(titles, LIST_SEPARATOR), False)
    genres.report(
        "title",
        has_separator,
        "a title that contains ;",
        "use another character: ; separates the genres of a track",
    )
    repeated = {
        entry["values"] for entry in titles.value_counts().to_pylist() if entry["counts"] > 1
    }
    rows = zip(
        ids.to_pylist(), titles.to_pylist(), genres.columns["parent"].to_pylist(), strict=True
    )
    return {
        number: (f"{title} ({number})" if title in repeated else title, parent == "0")
        for number, title, parent in rows
    }


def _subset(tracks: FmaTable, subset: str) -> FmaTable:
    """Select the rows of a subset and of those inside it."""
    included = SUBSETS[: SUBSETS.index(subset) + 1]
    values = tracks.columns["set.subset"]
    valid = pc.fill_null(pc.is_in(values, pa.array(SUBSETS)), False)
    tracks.report(
        "set.subset", pc.invert(valid), "unknown subset", f"use one of {', '.join(SUBSETS)}"
    )
    kept = tracks.where(pc.fill_null(pc.is_in(values, pa.array(included)), False))
    if not len(kept.rows):
        kept.report_table(
            "set.subset", "no track in a subset", f"no row belongs to {', '.join(included)}", subset
        )
    return kept


def _track_rows(tracks: FmaTable, titles: dict[str, tuple[str, bool]], subset: str) -> RawTable:
    """Convert the tracks to text in the columns of ``musicrec.schema.TRACKS``."""
    ids, numbers = tracks.whole_numbers("track_id")
    artists, _ = tracks.whole_numbers("artist.id")
    splits = tracks.columns["set.split"]
    good = pc.fill_null(pc.is_in(splits, pa.array([*SPLITS])), False)
    tracks.report("set.split", pc.invert(good), "unknown split", f"use one of {', '.join(SPLITS)}")
    albums = tracks.columns["album.id"]
    clips = [
        None
        if np.isnan(number)
        else f"fma_{subset}/{int(number) // 1000:03d}/{int(number):06d}.mp3"
        for number in numbers.tolist()
    ]
    columns = {
        "track_id": ids,
        "title": tracks.columns["track.title"],
        "artist_id": artists,
        "artist": tracks.columns["artist.name"],
        "album_id": pc.if_else(pc.equal(albums, NO_ALBUM), None, albums),
        "album": tracks.columns["album.title"],
        "year": _years(tracks),
        "audio": pa.array(clips, pa.string()),
        "language": tracks.columns["track.language_code"],
        "genres": _genres(tracks, titles),
        "genre_top": _top_genres(tracks, titles, subset),
        "split": pa.chunked_array(
            [pa.array([SPLITS.get(split) for split in splits.to_pylist()], pa.string())]
        ),
    }
    return RawTable(pa.table(columns), tracks.rows)


def _years(tracks: FmaTable) -> pa.ChunkedArray:
    dates = tracks.columns["album.date_released"]
    years = pc.struct_field(pc.extract_regex(dates, r"^(?P<year>\d{4})-\d{2}-\d{2}"), "year")
    numbers = pc.fill_null(pc.cast(years, pa.int32()), 0)
    good = pc.and_(pc.greater_equal(numbers, YEARS[0]), pc.less_equal(numbers, YEARS[1]))
    wrong = pc.and_(dates.is_valid(), pc.invert(good))
    tracks.report(
        "album.date_released",
        wrong,
        "not a date",
        "it is ignored; write it as 2009-01-05 00:00:00",
        "warning",
    )
    return pc.if_else(good, years, pa.scalar(None, pa.string()))


def _genres(tracks: FmaTable, titles: dict[str, tuple[str, bool]]) -> pa.Array:
    """Return the titles of ``genres_all``, a list of ids in brackets."""
    texts = tracks.columns["track.genres_all"]
    listed = pc.fill_null(
        pc.match_substring_regex(texts, r"^\[\s*(\d+\s*(,\s*\d+\s*)*)?\]$"), False
    )
    tracks.report(
        "track.genres_all",
        pc.invert(listed),
        "not a list of genre ids",
        "write it as [21] or [17, 10]",
    )
    # A hundred thousand tracks have some thousand different lists.
    encoded = texts.combine_chunks().dictionary_encode()
    joined: list[str | None] = []
    is_known: list[bool] = []
    for text in encoded.dictionary.to_pylist():
        numbers = [number for number in text.strip("[]").replace(" ", "").split(",") if number]
        is_known.append(all(number in titles for number in numbers))
        joined.append(
            LIST_SEPARATOR.join(titles[number][0] or "" for number in numbers if number in titles)
            or None
        )
    places = encoded.indices
    unknown = pc.and_(
        listed, pc.invert(pc.fill_null(pa.array(is_known, pa.bool_()).take(places), True))
    )
    tracks.report(
        "track.genres_all", unknown, "unknown genre", "each id must be a genre_id of genres.csv"
    )
    return pa.array(joined, pa.string()).take(places)


def _top_genres(tracks: FmaTable, titles: dict[str, tuple[str, bool]], subset: str) -> pa.Array:
    texts = tracks.columns["track.genre_top"]
    top = {
        title.removesuffix(f" ({number})"): title
        for number, (title, is_top) in titles.items()
        if is_top and title is not None
    }
    unknown = pc.and_(texts.is_valid(), pc.invert(pc.is_in(texts, pa.array([*top], pa.string()))))
    tracks.report(
        "track.genre_top",
        unknown,
        "unknown top genre",
        "it must be the title of a genre of genres.csv whose parent is 0",
    )
    if subset in WITH_TOP_GENRE:
        tracks.report(
            "track.genre_top",
            texts.is_null(),
            "empty cell",
            f"every track of the subset {subset} has a top genre",
        )
    return pa.array([top.get(text) for text in texts.to_pylist()], pa.string())


def _artist_rows(tracks: FmaTable, rows: RawTable) -> RawTable:
    """Make one row for each artist.

    It has the name and location of the first track that states them, and the genres of all.
    """
    places = {}
    for column in ("latitude", "longitude"):
        values, wrong = tracks.decimals(f"artist.{column}", *LIMITS[column])
        tracks.report(
            f"artist.{column}",
            wrong,
            "invalid location",
            "the artist's location is left empty",
            "warning",
        )
        places[column] = values
    incomplete = np.isnan(places["latitude"]) != np.isnan(places["longitude"])
    tracks.report(
        "artist.latitude",
        incomplete,
        "incomplete location",
        "the artist's location is left empty: give both or neither",
        "warning",
    )
    located = ~(np.isnan(places["latitude"]) | np.isnan(places["longitude"]))
    artists: dict[str, dict[str, str | None]] = {}
    genres: dict[str, dict[str, None]] = {}
    texts = rows.columns.select(["artist_id", "artist", "genres"]).to_pydict()
    for index, (artist, name, track_genres) in enumerate(zip(*texts.values(), strict=True)):
        if artist is None:
            continue
        row = artists.setdefault(
            artist, {"row": index, "name": None, "latitude": None, "longitude": None}
        )
        row["name"] = row["name"] or name
        if row["latitude"] is None and located[index]:
            row |= {column: tracks.columns[f"artist.{column}"][index].as_py() for column in places}
        genres.setdefault(artist, {}).update(
            dict.fromkeys(track_genres.split(LIST_SEPARATOR) if track_genres else ())
        )
    columns = {"artist_id": pa.array([*artists], pa.string())}
    columns |= {
        name: pa.array([row[name] for row in artists.values()], pa.string())
        for name in ("name", "latitude", "longitude")
    }
    columns["genres"] = pa.array(
        [LIST_SEPARATOR.join(titles) or None for titles in genres.values()], pa.string()
    )
    return RawTable(
        pa.table(columns), tracks.rows[np.array([row["row"] for row in artists.values()], np.int64)]
    )
