"""Read MTG-Jamendo as published.

Bogdanov, Won, Tovstogan, Porter and Serra, "The MTG-Jamendo Dataset for Automatic Music Tagging",
ICML 2019 Machine Learning for Music Discovery Workshop. Under the catalog's root::

    autotagging.tsv    TRACK_ID, ARTIST_ID, ALBUM_ID, PATH, DURATION, TAGS; each further tag in a
                       column of its own, as genre---rock, instrument---piano or mood/theme---happy
    raw.meta.tsv       TRACK_ID, ARTIST_ID, ALBUM_ID, TRACK_NAME, ARTIST_NAME, ALBUM_NAME,
                       RELEASEDATE, URL (optional)
    14/214.mp3         the recordings, at PATH

``raw.tsv`` is read where there is no ``autotagging.tsv``.
"""

from __future__ import annotations

import re

from pyarrow import fs

from musicrec.catalog.published.tabbed import raw_catalog, read_tabbed
from musicrec.catalog.tables import LIST_SEPARATOR, RawCatalog

TABLES = ("autotagging.tsv", "raw.tsv")
COLUMNS = ("TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS")
NAMES = ("TRACK_ID", "TRACK_NAME", "ARTIST_NAME", "ALBUM_NAME", "RELEASEDATE")
GENRE = "genre---"


def read_jamendo(root: str, filesystem: tuple[fs.FileSystem, str]) -> RawCatalog:
    """Return the tables of MTG-Jamendo as text, without splits and without relations.

    The genres of a track are its tags of the category genre.

    Raises
    ------
    OSError
        The storage does not answer.
    """
    store, base = filesystem
    places = [f"{base.rstrip('/')}/{name}" for name in TABLES]
    present = [info.is_file for info in store.get_file_info(places)]
    file = TABLES[present.index(True)] if any(present) else TABLES[0]
    tracks = read_tabbed(filesystem, file, COLUMNS, further=True)
    names = read_tabbed(filesystem, "raw.meta.tsv", NAMES, optional=True)

    def columns() -> dict[str, list[str | None]]:
        ids = tracks.columns["TRACK_ID"]
        named = {column: names.by("TRACK_ID", column) for column in NAMES[1:]}
        tags = [
            [tag for tag in (first, *others) if tag]
            for first, others in zip(tracks.columns["TAGS"], tracks.further, strict=True)
        ]
        genres = [
            [tag.removeprefix(GENRE) for tag in each if tag.startswith(GENRE)] for each in tags
        ]
        return {
            "track_id": ids,
            "title": [named["TRACK_NAME"].get(name) for name in ids],
            "artist_id": tracks.columns["ARTIST_ID"],
            "artist": [named["ARTIST_NAME"].get(name) for name in ids],
            "album_id": tracks.columns["ALBUM_ID"],
            "album": [named["ALBUM_NAME"].get(name) for name in ids],
            "year": [_year(named["RELEASEDATE"].get(name)) for name in ids],
            "audio": tracks.columns["PATH"],
            "genres": [LIST_SEPARATOR.join(each) or None for each in genres],
        }

    return raw_catalog(root, (tracks, names), columns)


def _year(date: str | None) -> str | None:
    """Return the year of a date, as 2006-05-17."""
    return date[:4] if date and re.match(r"\d{4}-", date) else None
