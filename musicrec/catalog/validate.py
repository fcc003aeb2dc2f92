"""Check a catalog against its rules.

Every violation is found in one pass and reported in one line with its row, its value and the fix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pyarrow as pa
from pyarrow import fs

from musicrec.catalog import rules
from musicrec.catalog.file_rules import check_files
from musicrec.catalog.genre_rules import check_genres, check_spelling
from musicrec.catalog.published.recognise import published_set
from musicrec.catalog.split import artist_split
from musicrec.catalog.tables import (
    MISSING_FIX,
    TABLES,
    Catalog,
    CatalogError,
    Problem,
    RawCatalog,
    RawTable,
    as_text,
    read_raw,
    typed,
    with_all_artists,
)
from musicrec.config.names import YEARS
from musicrec.schema import SPLITS

OPTIONAL = {
    "artists": "its rows are derived from the tracks, without country and location",
    "related": "without relations only genres can be learned (--task many_genres); "
    "python jobs/relate.py makes them from plays",
}


def validate(
    catalog: Catalog | RawCatalog,
    *,
    exists: Callable[[str], bool] | None = None,
    allowed_roots: Sequence[str] = (),
    years: tuple[int, int] = YEARS,
    optional: Sequence[str] = ("artists",),
) -> list[Problem]:
    """Return every violation of a catalog's rules.

    The violations of one rule in one table are cut to ``PROBLEM_LINES``, followed by a line that
    counts the rest.

    Parameters
    ----------
    exists
        Called with the absolute URI of each distinct audio and artwork file; missing files are
        warnings. None skips the check.
    allowed_roots
        Folders and URIs outside the catalog's root that may hold audio and artwork.
    years
        The first and the last valid year.
    optional
        Tables of ``OPTIONAL`` that may be missing or empty.
    """
    raw = _raw(catalog) if isinstance(catalog, Catalog) else catalog
    problems = list(raw.problems)
    for name in TABLES:
        if name not in raw.tables and name in optional:
            problems.append(
                Problem(name, None, None, None, "missing table", OPTIONAL[name], "warning")
            )
        elif name not in raw.tables:
            problems.append(
                Problem(name, None, None, None, "missing table", MISSING_FIX.format(name=name))
            )
    tables = {
        name: rules.Inspected(name, table)
        for name, table in raw.tables.items()
        if table.columns.num_columns
    }
    for table in tables.values():
        rules.check_columns(table, years, optional)
    if tracks := tables.get("tracks"):
        tracks.repeated(["track_id"], "track_id", "duplicate track", "give each track its own id")
        rules.check_splits(tracks)
        for column in ("audio", "artwork"):
            check_files(tracks, column, raw.root, allowed_roots, exists)
        check_spelling(tracks, "genres")
        check_spelling(tracks, "genre_top")
        check_genres(tracks)
    if artists := tables.get("artists"):
        check_spelling(artists, "genres")
        rules.check_artists(artists)
    if related := tables.get("related"):
        rules.check_related(related)
    rules.check_between(tracks, artists, related)
    return problems + [problem for table in tables.values() for problem in table.problems]


def _raw(catalog: Catalog) -> RawCatalog:
    """Convert a typed catalog to text, for the same rules."""
    tables: dict[str, RawTable] = {}
    problems: list[Problem] = []
    for name, schema in TABLES.items():
        table = getattr(catalog, name)
        tables[name], more = as_text(table, schema.names, np.arange(1, table.num_rows + 1), name)
        problems += more
    return RawCatalog(catalog.root, tables, tuple(problems))


def load_validated(
    root: str,
    filesystem: tuple[fs.FileSystem, str],
    *,
    seed: int,
    exists: Callable[[str], bool] | None = None,
    allowed_roots: Sequence[str] = (),
    optional: Sequence[str] = ("artists",),
    kept_splits: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Catalog, list[Problem]]:
    """Load a user's catalog, checked and typed, and its warnings.

    If it brings no splits they are made (``artist_split`` with ``seed``).

    Parameters
    ----------
    kept_splits
        The splits of artists that were assigned earlier.

    Raises
    ------
    CatalogError
        At least one rule of severity "error" is violated; it carries all problems.
    OSError
        The storage does not answer.
    """
    try:
        return checked(
            read_raw(root, filesystem),
            seed=seed,
            exists=exists,
            allowed_roots=allowed_roots,
            optional=optional,
            kept_splits=kept_splits,
        )
    except CatalogError as error:
        if (published := published_set(filesystem)) is None:
            raise
        raise CatalogError([published]) from error


def checked(
    raw: RawCatalog,
    *,
    seed: int,
    exists: Callable[[str], bool] | None = None,
    allowed_roots: Sequence[str] = (),
    optional: Sequence[str] = ("artists",),
    kept_splits: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Catalog, list[Problem]]:
    """Do the same as ``load_validated`` for tables that were read."""
    problems = validate(raw, exists=exists, allowed_roots=allowed_roots, optional=optional)
    if any(problem.severity == "error" for problem in problems):
        raise CatalogError(problems)
    texts = raw.tables["tracks"].columns
    makes_splits = "split" not in texts.column_names or texts["split"].null_count == texts.num_rows
    if makes_splits:
        kept = texts.drop_columns(["split"]) if "split" in texts.column_names else texts
        texts = kept.append_column("split", pa.array([SPLITS[0]] * texts.num_rows))
    tracks = typed(RawTable(texts, raw.tables["tracks"].rows), "tracks")
    artists, related = (
        typed(raw.tables[name], name) if name in raw.tables else TABLES[name].empty_table()
        for name in list(TABLES)[1:]
    )
    artists = with_all_artists(artists, tracks)
    if makes_splits:
        index = tracks.schema.get_field_index("split")
        tracks = tracks.set_column(
            index,
            tracks.schema.field(index),
            artist_split(tracks, artists, seed=seed, kept=kept_splits),
        )
    return Catalog(raw.root, tracks, artists, related), problems
