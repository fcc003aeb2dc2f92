"""Write a small data set in the published form of FMA.

A genre has its own register and sound, so that there is something to learn; an artist plays one
genre and is in one split. Each clip is encoded once a session. Its rate is 8 kHz, where 30 s take
0.1 s to encode.
"""

from __future__ import annotations

import csv
import functools
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 8000
SECONDS = 30.0
# Genre id, title, parent, top genre; "Noise" occurs twice, as a child of two genres.
GENRES = (
    *((21, "Hip-Hop", 0, 21), (12, "Rock", 0, 12), (15, "Electronic", 0, 15), (17, "Folk", 0, 17)),
    *(
        (100, "Alternative Hip-Hop", 21, 21),
        (25, "Punk", 12, 12),
        (181, "Noise", 12, 12),
        (32, "Noise", 15, 15),
        (103, "Singer", 17, 17),
    ),
)
SUBSETS = ("small", "medium", "large")
# Of a genre's five artists three are for training, the others for validation and test.
ARTIST_SPLITS = ("training", "training", "validation", "test", "training")
HEADER = {
    "album": (
        "comments",
        "date_created",
        "date_released",
        "id",
        "information",
        "listens",
        "title",
        "type",
    ),
    "artist": ("active_year_begin", "bio", "id", "latitude", "location", "longitude", "name"),
    "set": ("split", "subset"),
    "track": (
        "bit_rate",
        "date_created",
        "duration",
        "genre_top",
        "genres",
        "genres_all",
        "information",
        "language_code",
        "title",
    ),
}
# Faults of a clip, and the reason that extraction finds; each occurs in the training set.
FAULTS = {
    "missing": "not_found",
    "no bytes": "empty",
    "no sound": "empty",
    "ten seconds": "too_short",
    "a web page": "not_audio",
    "cut off": "truncated",
}


@dataclass
class FmaTree:
    """The rows of the two tables, to be changed and written again, and the faulty clips."""

    root: Path
    subset: str
    tracks: list[dict[str, Any]]
    genres: list[dict[str, Any]] = field(default_factory=list)
    faulty: dict[str, str] = field(default_factory=dict)
    """track_id -> the reason of its row in the errors table."""

    def write_tables(self) -> None:
        folder = self.root / "fma_metadata"
        folder.mkdir(parents=True, exist_ok=True)
        names = [(group, name) for group, members in HEADER.items() for name in members]
        with (folder / "tracks.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["", *(group for group, _ in names)])
            writer.writerow(["", *(name for _, name in names)])
            writer.writerow(["track_id", *("" for _ in names)])
            for row in self.tracks:
                writer.writerow(
                    [row["track_id"], *(row.get(f"{group}.{name}", "") for group, name in names)]
                )
        with (folder / "genres.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(
                file, ["genre_id", "#tracks", "parent", "title", "top_level"], lineterminator="\n"
            )
            writer.writeheader()
            writer.writerows(self.genres)


def build_fma_tree(
    folder: str | Path,
    subset: str = "medium",
    tracks: int = 40,
    genres: int = 2,
    seed: int = 0,
    seconds: float = SECONDS,
) -> FmaTree:
    """Write a data set whose clips lie in ``fma_SUBSET``.

    Parameters
    ----------
    tracks
        Of ``subset`` and those inside it, beside them one of each larger subset, without a clip; at
        least 32 with two genres, so that no fault takes a split's last track. The first six clips
        of the training set are faulty.
    genres
        How many top genres, 2 to 4.
    seconds
        Length of a whole clip.
    """
    tree = FmaTree(Path(folder), subset, [])
    tops = [row for row in GENRES if row[2] == 0][:genres]
    tree.genres = [
        {"genre_id": number, "#tracks": 100, "parent": parent, "title": title, "top_level": top}
        for number, title, parent, top in GENRES
        if top in {row[0] for row in tops}
    ]
    inside = SUBSETS[: (*SUBSETS, "full").index(subset) + 1]
    rng = np.random.default_rng([seed, tracks])
    faults = dict(FAULTS)
    for index in range(tracks):
        top = tops[index % genres]
        artist = index // genres % len(ARTIST_SPLITS)
        row = _row(tree, index, top, artist, inside[index % len(inside)], rng)
        tree.tracks.append(row)
        fault = next(iter(faults)) if faults and row["set.split"] == "training" else None
        if fault is not None:
            tree.faulty[str(row["track_id"])] = faults.pop(fault)
        content = _clip_with(fault, top[0], (seed, artist, index), seconds)
        if content is not None:
            path = tree.root / clip_path(subset, row["track_id"])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    for offset, larger in enumerate(name for name in SUBSETS if name not in inside):
        tree.tracks.append(
            _row(tree, tracks + offset, tops[0], 0, larger, rng) | {"track.genre_top": ""}
        )
    tree.write_tables()
    return tree


def clip_path(subset: str, track_id: int | str) -> str:
    return f"fma_{subset}/{int(track_id) // 1000:03d}/{int(track_id):06d}.mp3"


def _row(
    tree: FmaTree, index: int, top: tuple, artist: int, subset: str, rng: np.random.Generator
) -> dict[str, Any]:
    """Return a row as published.

    Texts have commas, quotes and line breaks, lists have brackets, ids are not consecutive.
    """
    children = [row for row in GENRES if row[2] == top[0]]
    chosen = [top[0], *(child[0] for child in children if rng.random() < 0.5)]
    artist_id = 10 * top[0] + artist
    return {
        "track_id": 2 + 997 * index,
        "album.date_created": "2008-11-26 01:44:45",
        "album.date_released": f"{1990 + artist}-01-05 00:00:00" if index % 3 else "",
        "album.id": artist_id + 1 if index % 4 else -1,
        "album.information": '<p>Recorded at home,\nwith "help".</p>\n\n<p>Twice.</p>',
        "album.title": "An album, of sorts",
        "album.type": "Album",
        "artist.bio": 'Born in "Wherever",\r\nlives\n\nelsewhere.',
        "artist.id": artist_id,
        "artist.latitude": 40.058324 if artist % 2 else "",
        "artist.longitude": -74.405661 if artist % 2 else "",
        "artist.name": f"{top[1]} Player {artist}",
        "set.split": ARTIST_SPLITS[artist],
        "set.subset": subset,
        "track.bit_rate": 256000,
        "track.duration": 168,
        "track.genre_top": top[1],
        "track.genres": f"[{chosen[-1]}]",
        "track.genres_all": f"[{', '.join(map(str, chosen))}]",
        "track.information": "two\nlines" if index % 2 else "",
        "track.language_code": "en",
        "track.title": f"Piece {index}",
    }


def _clip_with(
    fault: str | None, genre: int, variation: tuple[int, ...], seconds: float
) -> bytes | None:
    """Return an MP3, or the content of a faulty file."""
    if fault == "missing":
        return None
    if fault == "no bytes":
        return b""
    if fault == "a web page":
        return b"<!DOCTYPE html><html><head><title>404 Not Found</title></head></html>\n" * 50
    if fault == "ten seconds":
        return mp3(genre, variation, seconds / 3)
    if fault == "no sound":
        return _without_sound(mp3(genre, variation, 1.0))
    whole = mp3(genre, variation, seconds)
    return whole[: len(whole) * 2 // 3] if fault == "cut off" else whole


def _without_sound(clip: bytes) -> bytes:
    """Return an MP3 whose first frame states that its two frames of sound are padding."""
    info = max(clip.find(b"Info"), clip.find(b"Xing"))
    end = info
    for _ in range(3):  # the descriptive frame ends where the first frame of sound begins
        end = clip.index(clip[:2], end + 1)
    frames, padding = (2).to_bytes(4, "big"), (576 << 12 | 576).to_bytes(3, "big")
    return (
        clip[: info + 8] + frames + clip[info + 12 : info + 141] + padding + clip[info + 144 : end]
    )


@functools.cache
def mp3(genre: int, variation: tuple[int, ...], seconds: float) -> bytes:
    """Return a clip of a genre: beats of noise, saws, sweeps or chords, all different."""
    rng = np.random.default_rng([genre, *variation])
    time = np.arange(round(seconds * RATE)) / RATE
    kind = [row[0] for row in GENRES].index(genre) % 4
    low = rng.uniform(0.9, 1.1)
    if kind == 0:
        samples = rng.standard_normal(len(time)) * np.exp(-10 * (time % rng.uniform(0.4, 0.6)))
    elif kind == 1:
        samples = 2 * (220 * low * time % 1) - 1
    elif kind == 2:
        samples = np.sin(2 * np.pi * (900 * low * time + 150 * np.sin(2 * np.pi * time / 3)))
    else:
        samples = (
            sum(np.sin(2 * np.pi * 330 * low * ratio * time) for ratio in (1, 5 / 4, 3 / 2)) / 3
        )
    samples = 0.3 * samples + 0.01 * rng.standard_normal(len(time))
    stream = io.BytesIO()
    soundfile.write(stream, samples.clip(-0.95, 0.95), RATE, format="MP3")
    return stream.getvalue()
