"""Valid files of every format, from which the hostile ones are made; small, for speed."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import soundfile
from PIL import Image

RECORDINGS = Path(__file__).parents[1] / "data" / "audio"
ENCODED = {
    "mp3": ("MP3", None),
    "flac": ("FLAC", None),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "wav": ("WAV", "FLOAT"),
}
AUDIO = ("mp3", "flac", "ogg", "opus", "wav", "aiff", "m4a", "aac")
PICTURES = ("png", "jpeg")
TABLES = ("csv", "parquet")
FORMS = (*AUDIO, *PICTURES, *TABLES, "yaml")

TRACKS = {
    "track_id": ["t1", "t2", "t3", "t4"],
    "title": ["One", "Two, or three", None, "Étude"],
    "artist_id": ["a1", "a1", "a2", "a3"],
    "year": [1998, None, 1720, 1830],
    "audio": ["audio/1.mp3", "audio/2.mp3", "audio/3.flac", "audio/4.ogg"],
    "lyrics": ["la la\nla", None, None, "lo"],
    "genres": ["folk;dance", "folk", "court", ""],
    "split": ["train", "train", "validation", "test"],
}
YAML = """
seed: 3
catalog: somewhere
extract: &extract {features: [mel, mfcc], precision: uint8, minimum_seconds: 2.5}
models:
  mel.time: {architecture: time, feature: mel, pool: [1, 8], \
learning_rates: [1.0e-3, 1e-4], patience: [3, 3]}
  lyrics: {architecture: lyrics, sizes: {embedding_size: 8, hidden: [8, 8, 8]}}
stacks: {}
ensemble: {branches: [lyrics, location, year], modality_dropout: 0.3}
train: {workers: 2, cache_gigabytes: 0.1}
"""


@functools.cache
def sound_files(form: str) -> tuple[bytes, ...]:
    """Return valid files of a format."""
    if form in AUDIO:
        short = (RECORDINGS / f"chord.{form}").read_bytes()
        return (
            short,
            *(
                _recording(*ENCODED[form], rate, channels)
                for rate, channels in ((48_000, 1), (24_000, 2))
                if form in ENCODED
            ),
        )
    if form in PICTURES:
        return tuple(
            _picture(form, **options)
            for options in ({}, {"progressive": True} if form == "jpeg" else {"optimize": True})
        )
    if form == "csv":
        return (_csv().encode(), b"\xef\xbb\xbf" + _csv().replace("\n", "\r\n").encode())
    if form == "parquet":
        return tuple(
            _parquet(**options)
            for options in (
                {},
                {"compression": "zstd"},
                {"compression": "none", "use_dictionary": False},
            )
        )
    return (YAML.encode(),)


def _recording(container: str, subtype: str | None, rate: int, channels: int) -> bytes:
    rng = np.random.default_rng([rate, channels])
    since = np.arange(rate) / rate
    tone = 0.3 * np.sin(2 * np.pi * 440 * since)[:, None] + 0.01 * rng.standard_normal(
        (rate, channels)
    )
    stream = io.BytesIO()
    soundfile.write(stream, tone, rate, format=container, subtype=subtype)
    return stream.getvalue()


def _picture(form: str, **options: bool) -> bytes:
    smooth = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(smooth).resize((96, 80)).save(stream, format=form, **options)
    return stream.getvalue()


def _csv() -> str:
    def cell(value: str | int | None) -> str:
        text = "" if value is None else str(value)
        return f'"{text}"' if set(text) & {",", "\n"} else text

    rows = zip(*TRACKS.values(), strict=True)
    return "\n".join([",".join(TRACKS), *(",".join(map(cell, row)) for row in rows)]) + "\n"


def _parquet(**options: str | bool) -> bytes:
    table = pa.table(TRACKS)
    lists = pa.array([text.split(";") if text else [] for text in TRACKS["genres"]])
    stream = io.BytesIO()
    pa.parquet.write_table(
        table.set_column(table.column_names.index("genres"), "genres", lists), stream, **options
    )
    return stream.getvalue()
