"""List the demo catalog's artists and works, and draw what depends on the seed.

The facts are in ``artists.yaml``; no score is opened here. The seed determines the instrument of
each work, its audio format and the split of the artists. Instruments must not give the answer away
(with one instrument per artist, a linear model tells the genres apart by timbre alone), so each
work's program is drawn from one list by the work's own generator, which depends on neither artist
nor genre.
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

# General MIDI programs (from 0) that sound clear from bass to treble in TimGM6mb: piano,
# harpsichord, vibraphone, drawbar organ, church organ, accordion, nylon guitar, violin, harp,
# string ensemble, trumpet, horn, oboe, clarinet, flute, recorder.
PROGRAMS = (0, 6, 11, 16, 19, 21, 24, 40, 46, 48, 56, 60, 68, 71, 73, 74)

CLIP_SECONDS = 30.0
AUDIO_FORMATS = ("mp3", "flac", "ogg")
# Encoding a clip takes .84 s of CPU as MP3, .45 as Ogg Vorbis and .04 as FLAC (then 2.1 MB instead
# of .5), while drawing one takes .31. A tenth each of MP3 and Ogg keeps their decoders in use.
AUDIO_FORMAT_FRACTIONS = (0.1, 0.8, 0.1)

VALIDATION_FRACTION = 0.15
TEST_FRACTION = 0.20


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

    Attributes
    ----------
    score
        Path inside music21's corpus.
    tune
        Number (``X:``) of the tune to take from an ABC file.
    start
        Seconds between the first note and the clip.
    program
        General MIDI program (from 0) of all parts.
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
    """Return the text of the table of artists."""
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
    """Return all artists of the table, including those without tracks, in the table's order."""
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
    """Return the works of the demo catalog, ready to be rendered.

    With fewer ``clips`` than the table has works, every artist keeps its first ones: all first
    works, alternating between genres, then all second ones, and so on until the number is reached.

    Parameters
    ----------
    seed
        The run's seed: it determines instruments, audio formats and the split, but not which works
        are selected.
    clips
        Largest number of clips.

    Raises
    ------
    ValueError
        ``clips`` is not positive.
    """
    if clips < 1:
        raise ValueError(f"clips is {clips}: the demo catalog needs at least one clip")
    selected = sorted(_work_facts(), key=lambda fact: fact["order"])[:clips]
    splits = split_artists({fact["artist_id"]: fact["genre_top"] for fact in selected}, seed)
    return [
        _draw(fact, splits[fact["artist_id"]], seed)
        for fact in sorted(selected, key=lambda fact: fact["track_id"])
    ]


def split_artists(genre_of_artist: Mapping[str, str], seed: int) -> dict[str, str]:
    """Put each artist in train, validation or test: about 65/15/20 within each genre.

    Genres of three artists and more have at least one artist in each split; of two, the second one
    goes to test.
    """
    by_genre: dict[str, list[str]] = defaultdict(list)
    for artist_id in sorted(genre_of_artist):
        by_genre[genre_of_artist[artist_id]].append(artist_id)
    splits: dict[str, str] = {}
    for genre, artist_ids in sorted(by_genre.items()):
        order = np.random.default_rng([seed, zlib.crc32(genre.encode())]).permutation(
            len(artist_ids)
        )
        test = max(1, round(TEST_FRACTION * len(order))) if len(order) > 1 else 0
        validation = max(1, round(VALIDATION_FRACTION * len(order))) if len(order) > 2 else 0
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
    """Return lower-case ASCII letters and digits joined by hyphens, for ids and file names."""
    plain = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.replace("'", "")).strip("-")


def _work_facts() -> list[dict]:
    """Return one dict per work.

    It has the table's columns without anything drawn, and its place in the order of selection.
    """
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
    """Parse a key of ``works`` into score path, tune number and start in seconds.

    The head of the table explains the keys.
    """
    if file is not None:
        return file, int(key), 0.0
    path, _, start = str(key).partition("@")
    return path, None, float(start or 0.0)


def _draw(fact: dict, split: str, seed: int) -> Work:
    """Draw instrument and audio format.

    Each work has its own generator, so that a selection of works does not change its neighbours.
    """
    generator = np.random.default_rng([seed, zlib.crc32(fact["track_id"].encode())])
    columns = {name: value for name, value in fact.items() if name != "order"}
    return Work(
        **columns,
        program=int(generator.choice(PROGRAMS)),
        audio_format=str(generator.choice(AUDIO_FORMATS, p=AUDIO_FORMAT_FRACTIONS)),
        split=split,
    )
