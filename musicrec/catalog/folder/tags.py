"""Read the tags inside an audio file: ID3 (MP3, WAV, AIFF), Vorbis comments and MP4 atoms."""

from __future__ import annotations

import base64
import binascii
import re
import types
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import mutagen
from mutagen.flac import FLAC, Picture
from mutagen.id3 import ID3, _frames
from mutagen.mp4 import MP4Tags

from musicrec.config.names import YEARS

MAXIMUM_TEXT = 500  # characters of a name or title
MAXIMUM_LYRICS = 100_000
MAXIMUM_GENRES = 20
# Bytes that a compressed ID3 frame may expand to: a picture and its description.
MAXIMUM_FRAME_BYTES = 64 << 20
FRONT_COVER = 3  # type of a picture in ID3 and FLAC
MP4_FREE = "----:com.apple.iTunes:"
# Keys of each tag in ID3, in Vorbis comments and in MP4.
ID3_KEYS = {
    "artist": ("TPE1",),
    "album_artist": ("TPE2",),
    "album": ("TALB",),
    "title": ("TIT2",),
    "date": ("TDOR", "TDRC"),
    "artist_mbid": ("TXXX:MusicBrainz Artist Id",),
    "album_artist_mbid": ("TXXX:MusicBrainz Album Artist Id",),
    "album_mbid": ("TXXX:MusicBrainz Album Id",),
    "track_mbid": ("TXXX:MusicBrainz Release Track Id",),
}
VORBIS_KEYS = {
    "artist": ("artist",),
    "album_artist": ("albumartist", "album artist"),
    "album": ("album",),
    "title": ("title",),
    "date": ("originaldate", "date", "year"),
    "genres": ("genre",),
    "lyrics": ("lyrics", "unsyncedlyrics"),
    "language": ("language",),
    "artist_mbid": ("musicbrainz_artistid",),
    "album_artist_mbid": ("musicbrainz_albumartistid",),
    "album_mbid": ("musicbrainz_albumid",),
    "track_mbid": ("musicbrainz_releasetrackid",),
}
MP4_KEYS = {
    "artist": ("\xa9ART",),
    "album_artist": ("aART",),
    "album": ("\xa9alb",),
    "title": ("\xa9nam",),
    "date": ("\xa9day",),
    "genres": ("\xa9gen",),
    "lyrics": ("\xa9lyr",),
    "language": (f"{MP4_FREE}LANGUAGE",),
    "artist_mbid": (f"{MP4_FREE}MusicBrainz Artist Id",),
    "album_artist_mbid": (f"{MP4_FREE}MusicBrainz Album Artist Id",),
    "album_mbid": (f"{MP4_FREE}MusicBrainz Album Id",),
    "track_mbid": (f"{MP4_FREE}MusicBrainz Release Track Id",),
}
MBID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NO_LANGUAGE = ("xxx", "und", "zxx")


def _decompress(content: bytes) -> bytes:
    """Decompress a frame to at most ``MAXIMUM_FRAME_BYTES``; mutagen sets no bound."""
    decompressor = zlib.decompressobj()
    expanded = decompressor.decompress(content, MAXIMUM_FRAME_BYTES)
    if decompressor.unconsumed_tail:
        raise zlib.error(f"the frame expands to more than {MAXIMUM_FRAME_BYTES >> 20} MiB")
    return expanded


_frames.zlib = types.SimpleNamespace(decompress=_decompress, error=zlib.error)


@dataclass(frozen=True)
class Tags:
    """The tags of a file; None or empty where it has none."""

    artist: str | None = None
    album_artist: str | None = None
    album: str | None = None
    title: str | None = None
    year: int | None = None
    genres: tuple[str, ...] = ()
    lyrics: str | None = None
    language: str | None = None
    picture: bytes | None = None
    artist_mbid: str | None = None
    album_artist_mbid: str | None = None
    album_mbid: str | None = None
    track_mbid: str | None = None


def read_tags(stream: BinaryIO, name: str) -> Tags:
    """Return the tags of an audio file; none where it has none or they are damaged.

    A file whose audio is damaged as well becomes an error of the extraction.

    Parameters
    ----------
    stream
        The opened file, which can seek.
    name
        The file's name, by whose ending a format without a signature is recognised.
    """
    try:
        file = mutagen.File(fileobj=stream, filename=name)
        tags = None if file is None else file.tags
        if isinstance(tags, ID3):
            return _of_id3(tags)
        if isinstance(tags, MP4Tags):
            pictures = [bytes(cover) for cover in tags.get("covr", [])]
            return _of_values(tags, MP4_KEYS, pictures)
        if tags is not None and hasattr(tags, "vendor"):
            own = file.pictures if isinstance(file, FLAC) else []
            pictures = [*own, *map(_vorbis_picture, tags.get("metadata_block_picture", []))]
            return _of_values(tags, VORBIS_KEYS, _front_first(filter(None, pictures)))
    except Exception:  # noqa: BLE001 - damaged tags raise errors of many kinds
        return Tags()
    return Tags()


def _of_id3(tags: ID3) -> Tags:
    values = {name: _id3_texts(tags, keys) for name, keys in ID3_KEYS.items()}
    genre, lyrics = tags.get("TCON"), tags.getall("USLT")
    values["genres"] = [] if genre is None else genre.genres
    values["lyrics"] = [lyrics[0].text] if lyrics else []
    values["language"] = [lyrics[0].lang] if lyrics else _id3_texts(tags, ("TLAN",))
    return _tags(values, _front_first(tags.getall("APIC")))


def _id3_texts(tags: ID3, keys: Sequence[str]) -> list[str]:
    return [str(text) for key in keys if key in tags for text in tags[key].text]


def _of_values(tags: Any, keys: dict[str, Sequence[str]], pictures: list[bytes]) -> Tags:
    values = {
        name: [
            value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            for key in names
            for value in tags.get(key, [])
        ]
        for name, names in keys.items()
    }
    return _tags(values, pictures)


def _vorbis_picture(text: str) -> Picture | None:
    try:
        return Picture(base64.b64decode(text))
    except (binascii.Error, mutagen.MutagenError, ValueError):
        return None


def _front_first(pictures: Any) -> list[bytes]:
    ordered = sorted(pictures, key=lambda picture: picture.type != FRONT_COVER)
    return [bytes(picture.data) for picture in ordered]


def _tags(values: dict[str, list[str]], pictures: list[bytes]) -> Tags:
    first = {name: _tidy(texts[0]) if texts else None for name, texts in values.items()}
    lyrics = values["lyrics"][0].strip()[:MAXIMUM_LYRICS] if values["lyrics"] else ""
    language = (first["language"] or "").lower()
    mbids = {
        name: text.lower() if text and MBID.fullmatch(text.lower()) else None
        for name, text in first.items()
        if name.endswith("_mbid")
    }
    return Tags(
        **{name: first[name] for name in ("artist", "album_artist", "album", "title")},
        year=next(filter(None, map(_year, values["date"])), None),
        genres=_genres(values["genres"]),
        lyrics=lyrics or None,
        language=None if language in ("", *NO_LANGUAGE) else language,
        picture=next((each for each in pictures if each), None),
        **mbids,
    )


def _tidy(text: str) -> str | None:
    """Return a text without control characters and white space around it; None if empty."""
    cleaned = "".join(c if c.isprintable() else " " for c in text[:MAXIMUM_TEXT]).strip()
    return cleaned or None


def _genres(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the different genres; several in one text are separated by ; or NUL."""
    names = [_tidy(name) for text in texts for name in re.split("[;\0]", text)]
    return tuple(dict.fromkeys(name for name in names if name))[:MAXIMUM_GENRES]


def _year(text: str) -> int | None:
    """Return the year of a date that begins with it."""
    match = re.match(r"\s*(\d{4})\b", text)
    year = int(match[1]) if match else 0
    return year if YEARS[0] <= year <= YEARS[1] else None
