"""Build the embedded demo catalog: real music by real composers, rendered on the user's machine.

The scores are inside the installed ``music21`` package, the sound is rendered from them, and the
facts about artists and works are in ``artists.yaml``. The steps are plain functions, so that the
second can be mapped over many processes::

    works = demo_works(seed)
    rows = [render_work(work, folder) for work in works]
    write_tables(rows, folder, seed)

The folder is then a catalog of the form that users bring: ``tracks.csv``, ``artists.csv``,
``related.csv`` (lists as text joined by ``;``), ``audio/`` (FLAC, some MP3 and Ogg Vorbis),
``artwork/`` (drawn from the notes) and, for a build that is restarted, ``rows/``. ``catalog.json``
is written last and marks the catalog complete.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from musicrec.catalog.demo.works import (
    AUDIO_FORMATS,
    CLIP_SECONDS,
    Artist,
    Work,
    artist_table_text,
    demo_artists,
    demo_works,
)

__all__ = [
    "CLIP_SECONDS",
    "demo_works",
    "is_built",
    "related_artists",
    "render_work",
    "write_tables",
]

MARKER = "catalog.json"
# Raised when a score gives different sound, picture or words: clips of a lower number are rendered
# again.
RENDERING = 1
PACKAGES = ("music21", "midirenderer", "pretty_midi", "soundfile")
SOUND_FORMATS = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
}

TRACK_COLUMNS = (
    *("track_id", "title", "artist_id", "artist", "album_id", "album", "year"),
    *("audio", "artwork", "lyrics", "language", "genres", "genre_top", "split"),
)
ARTIST_COLUMNS = (
    "artist_id",
    "name",
    "latitude",
    "longitude",
    "country",
    "genres",
    "origin",
    "birth_year",
)
RELATED_COLUMNS = ("artist_id", "related_artist_id", "rank")

RELATED_LIMIT = 15
TIE_SCORE = 4.0
COLLECTION_SCORE = 2.0
SCHOOL_SCORE = 2.0
COUNTRY_SCORE = 0.5
BIRTH_SCORE = 1.0
BIRTH_YEARS = 60
LEAST_SCORE = 1.0


def render_work(work: Work, destination: str, longest: float = CLIP_SECONDS) -> dict:
    """Render one work into the catalog's folder and return its row of the ``tracks`` table.

    Files get their names only when complete, and a work whose files exist is skipped, so that a
    killed build continues where it stopped. The row's lyrics are the words of the whole piece, null
    if the score has none.

    Parameters
    ----------
    work
        From ``demo_works``.
    destination
        The catalog's folder on a local disk; created if missing.
    longest
        Largest number of seconds; a piece longer than a clip of 30 s is played on to its end. The
        picture shows the clip.

    Raises
    ------
    ModuleNotFoundError
        The packages of the ``demo`` extra are not installed.
    ValueError
        The score does not have this tune, has no note, or ends before the clip starts.
    """
    folder = Path(destination).absolute()
    audio, artwork, record = (
        f"audio/{work.track_id}.{work.audio_format}",
        f"artwork/{work.track_id}.png",
        f"rows/{work.track_id}.json",
    )
    longer = f" {longest:g} s" if longest != CLIP_SECONDS else ""
    fingerprint = hashlib.sha256(f"{RENDERING} {work!r}{longer}".encode()).hexdigest()
    if (folder / record).exists() and (folder / audio).exists() and (folder / artwork).exists():
        saved = json.loads((folder / record).read_text(encoding="utf-8"))
        if saved["fingerprint"] == fingerprint:
            return saved["row"]

    try:
        import soundfile

        from musicrec.catalog.demo import render as demo_render
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the demo catalog needs {error.name}: pip install 'musicrec[demo]'", name=error.name
        ) from error
    parts = demo_render.read_parts(work)
    notes = demo_render.sounding_notes(parts)
    clip, seconds = (
        demo_render.cut_clip(notes, work.start),
        demo_render.track_seconds(notes, work.start, longest),
    )
    samples = demo_render.synthesize(
        demo_render.cut_clip(notes, work.start, seconds), work.program, seconds
    )
    lyrics = demo_render.sung_text(work, parts)
    row = {column: getattr(work, column, None) for column in TRACK_COLUMNS}
    row |= {
        "audio": audio,
        "artwork": artwork,
        "lyrics": lyrics,
        "language": work.language if lyrics else None,
        "genres": list(work.genres),
    }

    for name in (MARKER, record, *(f"audio/{work.track_id}.{other}" for other in AUDIO_FORMATS)):
        # an earlier build of another seed is no longer complete
        (folder / name).unlink(missing_ok=True)
    sound_format, subtype = SOUND_FORMATS[work.audio_format]

    def write(path: str) -> None:
        with soundfile.SoundFile(
            path, "w", demo_render.SAMPLE_RATE, samples.shape[1], subtype, format=sound_format
        ) as file:
            # libvorbis puts a call's samples on its stack: minutes of them crash the process.
            block = round(CLIP_SECONDS * demo_render.SAMPLE_RATE)
            for start in range(0, len(samples), block):
                file.write(samples[start : start + block])

    _write(folder / audio, write)
    _write(
        folder / artwork,
        lambda path: demo_render.draw_piano_roll(clip).save(path, format="PNG", optimize=True),
    )
    _write_json(folder / record, {"fingerprint": fingerprint, "row": row})
    return row


def related_artists(
    artists: Sequence[Artist], limit: int = RELATED_LIMIT
) -> list[tuple[str, str, int]]:
    """Rank each artist's related artists by their biographies; the sound plays no part.

    The score of a pair is the sum of

    - 4 for a documented tie in either direction (teacher and pupil, spouses, brothers, a lasting
      collaboration),
    - 2 for the same collection (a manuscript, a printed tune book),
    - 2 for each school or genre label that both have,
    - 0.5 for the same country,
    - up to 1 for close birth years: 1 for the same year, falling linearly to 0 at 60 years; 0 if
      one is unknown.

    Pairs below 1 are not related. The ``limit`` best are kept, ranked from 1; ties are ordered by
    artist_id.

    Returns
    -------
    list of tuple
        (artist_id, related_artist_id, rank), by artist and rank.
    """
    rows = []
    for artist in sorted(artists, key=lambda item: item.artist_id):
        scores = {
            other.artist_id: _relation_score(artist, other)
            for other in artists
            if other.artist_id != artist.artist_id
        }
        ranked = sorted(
            (name for name, score in scores.items() if score >= LEAST_SCORE),
            key=lambda name: (-scores[name], name),
        )
        rows += [
            (artist.artist_id, name, rank) for rank, name in enumerate(ranked[:limit], start=1)
        ]
    return rows


def _relation_score(one: Artist, other: Artist) -> float:
    score = SCHOOL_SCORE * len(set(one.genres) & set(other.genres))
    if other.artist_id in one.ties or one.artist_id in other.ties:
        score += TIE_SCORE
    if one.collection is not None and one.collection == other.collection:
        score += COLLECTION_SCORE
    if one.country is not None and one.country == other.country:
        score += COUNTRY_SCORE
    if one.birth_year is not None and other.birth_year is not None:
        score += BIRTH_SCORE * max(0.0, 1.0 - abs(one.birth_year - other.birth_year) / BIRTH_YEARS)
    return score


def write_tables(rows: Iterable[Mapping], destination: str, seed: int) -> None:
    """Write the three tables, and last the marker of a complete catalog.

    Every artist of the table is written; those without tracks occur as related artists.

    Raises
    ------
    ValueError
        There are no rows, or two rows have one track_id.
    """
    folder = Path(destination).absolute()
    tracks = sorted(rows, key=lambda row: row["track_id"])
    if not tracks:
        raise ValueError(f"no rows for {folder}/tracks.csv: render the works first")
    repeated = [
        track_id
        for track_id, count in Counter(row["track_id"] for row in tracks).items()
        if count > 1
    ]
    if repeated:
        raise ValueError(f"track_id {repeated[0]} has several rows: pass each work's row once")
    artists = demo_artists()
    artist_rows = [
        {column: getattr(artist, column) for column in ARTIST_COLUMNS} for artist in artists
    ]
    related_rows = [
        dict(zip(RELATED_COLUMNS, relation, strict=True)) for relation in related_artists(artists)
    ]
    for part in folder.glob("*/.*.part"):  # left by a killed build
        part.unlink(missing_ok=True)
    _write_csv(folder / "tracks.csv", TRACK_COLUMNS, tracks)
    _write_csv(folder / "artists.csv", ARTIST_COLUMNS, artist_rows)
    _write_csv(folder / "related.csv", RELATED_COLUMNS, related_rows)
    marker = {
        "seed": seed,
        "recipe": _recipe(),
        "tracks": len(tracks),
        "artists_with_tracks": len({row["artist_id"] for row in tracks}),
        "artists": len(artist_rows),
        "related": len(related_rows),
        "genres": dict(sorted(Counter(row["genre_top"] for row in tracks).items())),
        "splits": dict(sorted(Counter(row["split"] for row in tracks).items())),
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES},
    }
    _write_json(folder / MARKER, marker)


def is_built(destination: str, seed: int, clips: int | None = None) -> bool:
    """Return whether the folder holds a complete catalog.

    It must be of this seed, this table of artists and, if given, this number of clips.
    """
    marker = Path(destination).absolute() / MARKER
    if not marker.exists():
        return False
    built = json.loads(marker.read_text(encoding="utf-8"))
    tracks = None if clips is None else len(demo_works(seed, clips))
    return (
        built["seed"] == seed and built["recipe"] == _recipe() and tracks in (None, built["tracks"])
    )


def _recipe() -> str:
    return hashlib.sha256(f"{RENDERING} {artist_table_text()}".encode()).hexdigest()[:16]


def _write(path: Path, write: Callable[[str], object]) -> None:
    """Let ``write`` fill a temporary file, then rename it: a partial file is never visible."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    write(str(part))
    part.replace(path)


def _write_json(path: Path, value: Mapping) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    _write(path, lambda part: Path(part).write_text(text, encoding="utf-8"))


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping]) -> None:
    def write(part: str) -> None:
        with open(part, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows([[_cell(row[column]) for column in columns] for row in rows])

    _write(path, write)


def _cell(value: object) -> object:
    if isinstance(value, list | tuple):
        return ";".join(value)
    return "" if value is None else value
