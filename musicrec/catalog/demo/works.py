"""Which artists and works the demo catalog has, and what is drawn for them from the seed.

The facts stand in ``demo_artists.yaml``; no score is opened here. Drawn from the seed are the instrument of each work, its audio format and
the split of the artists. Instruments must not give the answer away (with one instrument an artist, a linear model tells the genres apart
from timbre alone), so each work's programme is drawn from one list by its own generator, which knows neither artist nor genre.
"""

from __future__ import annotations

import importlib.resources
import re
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import yaml

ARTIST_TABLE = "artists.yaml"

# General MIDI programmes (from 0) that speak clearly from bass to treble in TimGM6mb: piano, harpsichord, vibraphone, drawbar organ, church
# organ, accordion, nylon guitar, violin, harp, string ensemble, trumpet, horn, oboe, clarinet, flute, recorder.
PROGRAMS = (0, 6, 11, 16, 19, 21, 24, 40, 46, 48, 56, 60, 68, 71, 73, 74)

CLIP_SECONDS = 30.0
AUDIO_FORMATS = ("mp3", "flac", "ogg")
AUDIO_FORMAT_SHARES = (0.6, 0.2, 0.2)

VALIDATION_SHARE = 0.15
TEST_SHARE = 0.20


@dataclass(frozen=True)
class Artist:
    """One entry of the table: a composer, a collector, or a regional tradition."""

    artist_id: str
    name: str
    genres: tuple[str, ...]
    birth_year: int | None
    origin: str | None
    latitude: float | None
    longitude: float | None
    country: str | None
    collection: str | None
    ties: tuple[str, ...]


@dataclass(frozen=True)
class Work:
    """One clip to render.

    ``score`` is a path inside music21's corpus, ``tune`` the number (``X:``) of the one tune to take from an ABC file, ``start`` the
    seconds between the first note and the clip, ``program`` the General MIDI programme (from 0) of all parts.
    """

    track_id: str
    title: str
    artist_id: str
    artist: str
    album_id: str
    album: str
    year: int | None
    score: str
    tune: int | None
    start: float
    language: str | None
    genres: tuple[str, ...]
    genre_top: str
    program: int
    audio_format: str
    split: str


def artist_table_text() -> str:
    """The table as it lies in the package."""
    return (
        importlib.resources.files("musicrec.catalog.demo")
        .joinpath(ARTIST_TABLE)
        .read_text(encoding="utf-8")
    )


@lru_cache(maxsize=1)
def _entries() -> tuple[dict, ...]:
    return tuple(yaml.safe_load(artist_table_text()))


@lru_cache(maxsize=1)
def demo_artists() -> tuple[Artist, ...]:
    """All artists of the table, those without tracks included, in the table's order."""
    return tuple(
        Artist(
            artist_id=entry["id"],
            name=entry["name"],
            genres=tuple(entry["genres"]),
            birth_year=entry["born"],
            origin=entry["origin"],
            latitude=entry["latitude"],
            longitude=entry["longitude"],
            country=entry["country"],
            collection=entry.get("collection"),
            ties=tuple(entry.get("ties", ())),
        )
        for entry in _entries()
    )


def demo_works(seed: int, clips: int = 220) -> list[Work]:
    """The works of the demo catalog, ready to be rendered one by one.

    With fewer ``clips`` than the table has works, every artist keeps its first ones: all first works, genre by genre in turn, then all
    second ones, and so on until the number is reached.

    Parameters
    ----------
    seed
        The run's seed: instruments, audio formats and the split derive from it. Which works are taken does not.
    clips
        How many clips at most.

    Raises
    ------
    ValueError
        If ``clips`` is not positive.
    """
    if clips < 1:
        raise ValueError(f"clips is {clips}: the demo catalog needs at least one clip")
    chosen = sorted(_work_facts(), key=lambda fact: fact["order"])[:clips]
    splits = split_artists({fact["artist_id"]: fact["genre_top"] for fact in chosen}, seed)
    return [
        _draw(fact, splits[fact["artist_id"]], seed)
        for fact in sorted(chosen, key=lambda fact: fact["track_id"])
    ]


def split_artists(genre_of_artist: Mapping[str, str], seed: int) -> dict[str, str]:
    """Put each artist in train, validation or test: about 65/15/20 within each genre, by artist.

    Genres of three artists and more have at least one artist in each split; of two, the second one goes to test.
    """
    by_genre: dict[str, list[str]] = defaultdict(list)
    for artist_id in sorted(genre_of_artist):
        by_genre[genre_of_artist[artist_id]].append(artist_id)
    splits: dict[str, str] = {}
    for genre, artist_ids in sorted(by_genre.items()):
        order = np.random.default_rng([seed, zlib.crc32(genre.encode())]).permutation(
            len(artist_ids)
        )
        test = max(1, round(TEST_SHARE * len(order))) if len(order) > 1 else 0
        validation = max(1, round(VALIDATION_SHARE * len(order))) if len(order) > 2 else 0
        for position, index in enumerate(order):
            split = (
                "test"
                if position < test
                else "validation"
                if position < test + validation
                else "train"
            )
            splits[artist_ids[index]] = split
    return splits


def slug(text: str) -> str:
    """Lower-case ASCII letters and digits joined by hyphens, for identifiers and file names."""
    plain = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.replace("'", "")).strip("-")


def _work_facts() -> list[dict]:
    """One dict a work: the table's columns without anything drawn, and its place in the order of selection."""
    facts = []
    artists_of_genre: dict[str, int] = defaultdict(int)
    for entry in _entries():
        if "albums" not in entry:
            continue
        genre_top = entry["genres"][0]
        works = [
            (album, key, title)
            for album in entry["albums"]
            for key, title in album["works"].items()
        ]
        for rank, (album, key, title) in enumerate(works):
            score, tune, start = _selector(album.get("file"), key)
            facts.append(
                {
                    "order": (rank, artists_of_genre[genre_top], genre_top),
                    "track_id": f"{entry['id']}-{slug(title)}",
                    "title": title,
                    "artist_id": entry["id"],
                    "artist": entry["name"],
                    "album_id": f"{entry['id']}-{slug(album['title'])}",
                    "album": album["title"],
                    "year": album["year"],
                    "score": score,
                    "tune": tune,
                    "start": start,
                    "language": album["language"],
                    "genres": tuple(dict.fromkeys([*entry["genres"], *album["genres"]])),
                    "genre_top": genre_top,
                }
            )
        artists_of_genre[genre_top] += 1
    return facts


def _selector(file: str | None, key: str | int) -> tuple[str, int | None, float]:
    """Score path, tune number and start in seconds from a key of ``works`` (see the head of the table)."""
    if file is not None:
        return file, int(key), 0.0
    path, _, start = str(key).partition("@")
    return path, None, float(start or 0.0)


def _draw(fact: dict, split: str, seed: int) -> Work:
    """Draw instrument and audio format; the generator is the work's own, so that a selection of works does not change its neighbours."""
    generator = np.random.default_rng([seed, zlib.crc32(fact["track_id"].encode())])
    columns = {name: value for name, value in fact.items() if name != "order"}
    return Work(
        **columns,
        program=int(generator.choice(PROGRAMS)),
        audio_format=str(generator.choice(AUDIO_FORMATS, p=AUDIO_FORMAT_SHARES)),
        split=split,
    )
