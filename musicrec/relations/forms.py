"""Describe the forms of play logs and of published similarities: their files and their columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from musicrec.config.errors import ConfigError, suggestion
from musicrec.config.sections import RelationsSettings

Layout = Literal["delimited", "parquet", "listens", "connections", "sqlite"]
Names = dict[str, str]


@dataclass(frozen=True)
class Form:
    """A form of the input.

    Attributes
    ----------
    patterns
        Names of its files (fnmatch); those of a folder that match none are not read.
    layout
        How a file is divided into rows. A "table" has either of two, by the file's name.
    columns
        Names of the columns of a file without a header, in order.
    header
        Whether the first line names the columns.
    items
        The column of each kind of item, by its id and by its name.
    similarities
        Whether a row is a published similarity instead of a play.
    """

    patterns: tuple[str, ...]
    layout: Layout = "delimited"
    delimiter: str = "\t"
    quoted: bool = False
    header: bool = False
    columns: tuple[str, ...] = ()
    user: str = "user"
    time: str | None = "timestamp"
    items: dict[tuple[str, str], str] | None = None
    similarities: bool = False


ENDINGS = ("", ".gz", ".bz2", ".zst")
FORMS = {
    "table": Form(
        (*(f"*.csv{end}" for end in ENDINGS), "*.parquet"),
        delimiter=",",
        quoted=True,
        header=True,
    ),
    # O. Celma, "Music Recommendation and Discovery", 2010: Last.fm Dataset - 1K users.
    "lastfm1k": Form(
        tuple(f"userid-timestamp-artid-artname-traid-traname.tsv{end}" for end in ENDINGS),
        columns=("user", "timestamp", "artist_id", "artist_name", "track_id", "track_name"),
        items={
            ("artist", "id"): "artist_id",
            ("artist", "name"): "artist_name",
            ("track", "id"): "track_id",
            ("track", "name"): "track_name",
        },
    ),
    # The full export of ListenBrainz: listens/YYYY/M.listens, one JSON object a line.
    "listenbrainz": Form(tuple(f"*.listens{end}" for end in ENDINGS), "listens"),
    # Santana et al., "Music4All: A New Music Database and Its Applications", IWSSIP 2020.
    "music4all": Form(
        ("listening_history.csv",),
        header=True,
        items={("track", "id"): "song"},
    ),
    # Bertin-Mahieux et al., "The Million Song Dataset", ISMIR 2011.
    "msd": Form(("artist_similarity.db",), "sqlite", similarities=True),
    "connections": Form(
        tuple(f"*.{name}{end}" for name in ("ndjson", "jsonl", "json") for end in ENDINGS),
        "connections",
        similarities=True,
    ),
    # Korzeniowski, Oramas and Gouyon, "Artist Similarity with Graph Neural Networks", ISMIR 2021.
    "olga": Form(("*.parquet",), "parquet", similarities=True),
}


def columns_of(name: str, settings: RelationsSettings) -> Names:
    """Return the columns to read by their use: user, item, and count and time where needed.

    Raises
    ------
    ConfigError
        The form lacks what the settings need.
    """
    form = FORMS[name]
    by_session = settings.group == "session"
    if form.similarities:
        if by_session:
            raise ConfigError(
                f"relations.group is session, but form {name} has published similarities and no "
                "plays: leave it out"
            )
        return {"user": "track_id", "item": "sim_artist_id"} if name == "olga" else {}
    if name == "table":
        names = {"user": settings.user_column, "item": settings.item_column}
        if settings.count_column is not None:
            names["count"] = settings.count_column
        return names | ({"time": settings.time_column} if by_session else {})
    if name == "listenbrainz":
        return {}
    return {
        "user": form.user,
        "item": _item_column(name, form, settings),
        **({"time": form.time} if by_session and form.time else {}),
    }


def _item_column(name: str, form: Form, settings: RelationsSettings) -> str:
    column = (form.items or {}).get((settings.item, settings.identify_by))
    if column is None:
        known = sorted({f"{item} by {by}" for item, by in form.items or {}})
        raise ConfigError(
            f"relations.item is {settings.item} and relations.identify_by is "
            f"{settings.identify_by}, but form {name} has {', '.join(known)} only: choose one of "
            "these, or name a table of tracks with --relations.tracks"
        )
    return column


def missing_column(file: str, column: str, present: list[str], option: str) -> ConfigError:
    """Return the error for a column that a file lacks."""
    shown = ", ".join(present[:20])
    return ConfigError(
        f"{file} has no column '{column}'{suggestion(column, present)}; it has {shown}. "
        f"Name the column with {option}"
    )
