"""A small catalog as a user would bring it: twelve artists of three schools, two short tracks each,
three CSV tables.

All of it is made from a seed. A school has its own register, words, century and region, so that
there is something to learn.
"""

from __future__ import annotations

import copy
import csv
import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow.fs
import soundfile
from PIL import Image

from musicrec.storage.store import resolve, write_atomically

RATE = 22_050
SECONDS = 3.0
FORMATS = ("mp3", "flac", "ogg")
# Of each school the first two artists are for training, the third for validation or more training,
# the last for validation or the test.
SPLITS = {
    "organ": ("train", "train", "train", "test"),
    "fiddle": ("train", "train", "validation", "test"),
    "drum": ("train", "train", "train", "validation"),
}
WORDS = {
    "organ": "ave verum corpus natum de maria virgine gloria patri et filio",
    "fiddle": "over the hills and far away we danced until the morning came",
    "drum": "schlaf kindlein schlaf der vater hüt die schaf im tiefen wald",
}
YEARS = {"organ": 1610, "fiddle": 1790, "drum": 1925}
PLACES = {"organ": (45.4, 12.3), "fiddle": (53.3, -6.3), "drum": (51.3, 9.5)}


@dataclass
class UserCatalog:
    """Three tables and the files that they name, to be changed at will and then written to a folder
    or bucket."""

    tracks: list[dict[str, Any]] = field(default_factory=list)
    artists: list[dict[str, Any]] = field(default_factory=list)
    related: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def copy(self) -> UserCatalog:
        return copy.deepcopy(self)

    def write(self, root: str) -> str:
        """Write everything under a root (a path or URI), files that are there with the same content
        aside; returns the root."""
        filesystem, base = resolve(root)
        tables = {
            f"{name}.csv": csv_bytes(getattr(self, name))
            for name in ("tracks", "artists", "related")
        }
        for name, content in (self.files | tables).items():
            if held(filesystem, f"{base}/{name}") != content:
                write_atomically(filesystem, f"{base}/{name}", content)
        return root

    def of_artists(self, *artist_ids: str) -> UserCatalog:
        """A copy with these artists only."""
        kept = self.copy()
        kept.tracks = [row for row in kept.tracks if row["artist_id"] in artist_ids]
        kept.artists = [row for row in kept.artists if row["artist_id"] in artist_ids]
        kept.related = [
            row
            for row in kept.related
            if {row["artist_id"], row["related_artist_id"]} <= set(artist_ids)
        ]
        named = {row[column] for row in kept.tracks for column in ("audio", "artwork")}
        kept.files = {name: content for name, content in kept.files.items() if name in named}
        return kept

    def copied(self, copies: int) -> UserCatalog:
        """A copy with each track so many times, each with an audio file of its own."""
        kept = self.copy()
        kept.tracks = []
        for row in self.tracks:
            stem, _, kind = row["audio"].rpartition(".")
            for copy_number in range(copies):
                audio = f"{stem}-copy{copy_number}.{kind}"
                kept.files[audio] = self.files[row["audio"]]
                kept.tracks.append(
                    row | {"track_id": f"{row['track_id']}-copy{copy_number}", "audio": audio}
                )
            del kept.files[row["audio"]]
        return kept

    def track_ids(self) -> set[str]:
        return {row["track_id"] for row in self.tracks}


def held(filesystem: pyarrow.fs.FileSystem, path: str) -> bytes | None:
    """What a file holds; None where there is none."""
    if filesystem.get_file_info(path).type != pyarrow.fs.FileType.File:
        return None
    with filesystem.open_input_file(path) as stream:
        return stream.read()


def csv_bytes(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def remove(root: str, name: str) -> None:
    filesystem, base = resolve(root)
    filesystem.delete_file(f"{base}/{name}")


def files_under(root: str, folder: str = "") -> dict[str, Any]:
    """Every file under a root with its time of change and size, so that two looks show what was
    written between them."""
    filesystem, base = resolve(root)
    selector = pyarrow.fs.FileSelector(
        f"{base}/{folder}".rstrip("/"), recursive=True, allow_not_found=True
    )
    found = filesystem.get_file_info(selector)
    return {
        info.path.removeprefix(f"{base}/"): (info.mtime_ns, info.size)
        for info in found
        if info.type == pyarrow.fs.FileType.File
    }


def sound(school: str, seed: list[int], seconds: float = SECONDS) -> np.ndarray:
    """Mono (N,): a chord in the school's register, or beats of noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    if school == "drum":
        return (
            0.5 * rng.standard_normal(len(time)) * np.exp(-12 * (time % rng.uniform(0.3, 0.5)))
        ).clip(-0.9, 0.9)
    low = {"organ": 110.0, "fiddle": 660.0}[school] * rng.uniform(0.9, 1.1)
    partials = 5 if school == "organ" else 2
    chord = sum(
        np.sin(2 * np.pi * low * ratio * k * time) / k
        for ratio in (1, 5 / 4, 3 / 2)
        for k in range(1, partials + 1)
    )
    return 0.1 * chord + 0.005 * rng.standard_normal(len(time))


def encoded(samples: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, RATE, format=kind.upper())
    return stream.getvalue()


def picture(seed: list[int], size: int = 48) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def small_catalog(seed: int = 0) -> UserCatalog:
    """Twelve artists with two tracks each, a thirteenth who is only named as related."""
    catalog = UserCatalog()
    for school_number, (school, splits) in enumerate(SPLITS.items()):
        members = [f"{school}-{number}" for number in range(len(splits))]
        for number, (artist, split) in enumerate(zip(members, splits, strict=True)):
            latitude, longitude = PLACES[school]
            known = number != 1  # of every second artist the place is not known
            catalog.artists.append(
                {
                    "artist_id": artist,
                    "name": f"{school.title()} Player {number}",
                    "latitude": latitude + number / 10 if known else "",
                    "longitude": longitude if known else "",
                    "country": {"organ": "Italy", "fiddle": "Ireland", "drum": "Germany"}[school],
                    "genres": f"{school} music;instrumental",
                }
            )
            others = [member for member in members if member != artist] + (
                ["teacher"] if school == "organ" else []
            )
            catalog.related += [
                {"artist_id": artist, "related_artist_id": other, "rank": rank}
                for rank, other in enumerate(others, start=1)
            ]
            for track in range(2):
                own = [seed, school_number, number, track]
                kind = FORMATS[(number + track) % len(FORMATS)]
                name = f"{artist}-{track}"
                catalog.files[f"audio/{name}.{kind}"] = encoded(sound(school, own), kind)
                catalog.files[f"artwork/{artist}.png"] = picture([seed, school_number, number])
                words = np.random.default_rng(own).permutation(WORDS[school].split())
                catalog.tracks.append(
                    {
                        "track_id": name,
                        "title": f"Piece {track} for the {school}",
                        "artist_id": artist,
                        "artist": f"{school.title()} Player {number}",
                        "year": YEARS[school] + number if track == 0 else "",
                        "audio": f"audio/{name}.{kind}",
                        "artwork": f"artwork/{artist}.png" if number < 2 else "",
                        "lyrics": " ".join(words) if track == 0 else "",
                        "genres": f"{school} music",
                        "split": split,
                    }
                )
    return catalog
