"""Make audio files with tags, as programs for music libraries write them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from mutagen.aiff import AIFF
from mutagen.flac import FLAC, Picture
from mutagen.id3 import APIC, TALB, TCON, TDRC, TIT2, TPE1, TPE2, TXXX, USLT
from mutagen.mp3 import MP3
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE
from PIL import Image

RATE = 8000
ID3_FILES = {".mp3": MP3, ".wav": WAVE, ".aiff": AIFF}
VORBIS_FILES = {".flac": FLAC, ".ogg": OggVorbis, ".opus": OggOpus}


def image(colour: str = "red") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 40), colour).save(stream, "PNG")
    return stream.getvalue()


def audio(file: Path, samples: np.ndarray | None = None, rate: int = RATE) -> Path:
    """Write an audio file without tags; its folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    kind = {"aiff": "AIFF", "opus": "OGG"}.get(file.suffix[1:], file.suffix[1:].upper())
    subtype = "OPUS" if file.suffix == ".opus" else None
    if samples is None:
        samples = 0.1 * np.sin(np.arange(rate) / 5)
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file


def tag(file: Path, picture: bytes | None = None, **tags: Any) -> Path:
    """Write tags: artist, album_artist, album, title, date, genre (a list), lyrics, language, and
    the MusicBrainz ids artist_mbid, album_mbid, track_mbid."""
    (_tag_id3 if file.suffix in ID3_FILES else _tag_vorbis)(file, picture, tags)
    return file


def _tag_id3(file: Path, picture: bytes | None, tags: dict[str, Any]) -> None:
    opened = ID3_FILES[file.suffix](file)
    if opened.tags is None:
        opened.add_tags()
    frames = {"artist": TPE1, "album_artist": TPE2, "album": TALB, "title": TIT2, "date": TDRC}
    for name, frame in {**frames, "genre": TCON}.items():
        if name in tags:
            opened.tags.add(frame(encoding=3, text=tags[name]))
    ids = {"artist_mbid": "Artist", "album_mbid": "Album", "track_mbid": "Release Track"}
    for name, words in ids.items():
        if name in tags:
            text = [tags[name]]
            opened.tags.add(TXXX(encoding=3, desc=f"MusicBrainz {words} Id", text=text))
    if "lyrics" in tags:
        language = tags.get("language", "XXX")
        opened.tags.add(USLT(encoding=3, lang=language, desc="", text=tags["lyrics"]))
    if picture is not None:
        opened.tags.add(APIC(encoding=3, mime="image/png", type=4, desc="back", data=b"back"))
        opened.tags.add(APIC(encoding=3, mime="image/png", type=3, desc="front", data=picture))
    opened.save()


def _tag_vorbis(file: Path, picture: bytes | None, tags: dict[str, Any]) -> None:
    opened = VORBIS_FILES[file.suffix](file)
    names = {"album_artist": "albumartist", "artist_mbid": "musicbrainz_artistid"}
    names |= {"album_mbid": "musicbrainz_albumid", "track_mbid": "musicbrainz_releasetrackid"}
    for name, value in tags.items():
        opened[names.get(name, name)] = value
    if picture is not None:
        front = Picture()
        front.type, front.mime, front.data = 3, "image/png", picture
        if file.suffix == ".flac":
            opened.add_picture(front)
        else:
            opened["metadata_block_picture"] = base64.b64encode(front.write()).decode()
    opened.save()
