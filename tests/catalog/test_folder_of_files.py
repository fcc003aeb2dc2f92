"""A folder of tagged audio files as a catalog."""

from __future__ import annotations

import json
import shutil
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pyarrow.fs
import pytest
from tagged import audio, image, tag

from musicrec.catalog.folder.read import read_folder
from musicrec.catalog.folder.tags import Tags, read_tags
from musicrec.catalog.tables import RawCatalog

ARTIST, ALBUM, TRACK = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "abc")
ALL = {
    "artist": "Nick Drake",
    "album_artist": "Nick Drake",
    "album": "Pink Moon",
    "title": "Road",
    "date": "1972-02-25",
    "genre": ["Folk", "Singer;Songwriter"],
    "lyrics": "You can say the sun is shining",
    "language": "eng",
    "artist_mbid": ARTIST,
    "album_mbid": ALBUM,
    "track_mbid": TRACK,
}


def read(root: Path, pictures: dict[str, bytes] | None = None) -> RawCatalog:
    def keep(digest: str, content: bytes) -> str:
        pictures[digest] = content
        return f"/pictures/{digest}"

    place = (pyarrow.fs.LocalFileSystem(), str(root))
    return read_folder(str(root), place, None if pictures is None else keep)


def rows(catalog: RawCatalog, name: str = "tracks") -> list[dict[str, Any]]:
    return catalog.tables[name].columns.to_pylist()


def tags_of(file: Path) -> Tags:
    with file.open("rb") as stream:
        return read_tags(stream, file.name)


@pytest.mark.parametrize("kind", ["mp3", "flac", "ogg", "opus", "wav", "aiff"])
def test_all_tags_of_each_format(tmp_path: Path, kind: str) -> None:
    rate = 48_000 if kind == "opus" else 8000
    file = tag(audio(tmp_path / f"a.{kind}", rate=rate), image(), **ALL)
    assert tags_of(file) == Tags(
        artist="Nick Drake",
        album_artist="Nick Drake",
        album="Pink Moon",
        title="Road",
        year=1972,
        genres=("Folk", "Singer", "Songwriter"),
        lyrics="You can say the sun is shining",
        language="eng",
        picture=image(),
        artist_mbid=ARTIST,
        album_mbid=ALBUM,
        track_mbid=TRACK,
    )


def test_the_row_of_a_tagged_file(tmp_path: Path) -> None:
    tag(audio(tmp_path / "x" / "y.flac"), image(), **ALL)
    pictures: dict[str, bytes] = {}
    (row,) = rows(catalog := read(tmp_path, pictures))
    assert row == {
        "track_id": TRACK,
        "title": "Road",
        "artist_id": ARTIST,
        "artist": "Nick Drake",
        "album_id": ALBUM,
        "album": "Pink Moon",
        "year": "1972",
        "audio": "x/y.flac",
        "artwork": f"/pictures/{next(iter(pictures))}",
        "lyrics": "You can say the sun is shining",
        "language": "eng",
        "genres": "Folk;Singer;Songwriter",
    }
    assert [*pictures.values()] == [image()]
    assert rows(catalog, "artists") == [
        {"artist_id": ARTIST, "name": "Nick Drake", "genres": "Folk;Singer;Songwriter"}
    ]


def test_names_of_folders_stand_for_missing_tags(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio(tmp_path / "Rock" / "Big Star" / "#1 Record" / "02 - Thirteen.ogg")
    audio(tmp_path / "Nico" / "These Days.flac")
    (tmp_path / "Nico" / "._These Days.flac").write_bytes(b"of another system")
    (tmp_path / "Nico" / "cover.jpg").write_bytes(image())
    names = ("track_id", "artist_id", "artist", "album", "title", "artwork")
    assert [tuple(row[name] for name in names) for row in rows(read(tmp_path))] == [
        ("Nico/These Days.flac", "nico", "Nico", None, "These Days", "Nico/cover.jpg"),
        (
            "Rock/Big Star/#1 Record/02 - Thirteen.ogg",
            *("big star", "Big Star", "#1 Record", "Thirteen", None),
        ),
    ]
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert "the names of their folders are used" in line["event"]
    assert line["files"] == 2


def test_a_file_without_an_artist_is_a_warning(tmp_path: Path) -> None:
    audio(tmp_path / "track01.wav")
    catalog = read(tmp_path)
    assert "tracks" not in catalog.tables
    assert str(catalog.problems[0]) == (
        "warning: tracks, artist 'track01.wav': no artist: left out; give it a tag of its artist, "
        "or move it into ARTIST/ALBUM/"
    )


def test_ids_are_stable_when_the_root_is_renamed(tmp_path: Path) -> None:
    tag(audio(tmp_path / "old" / "A" / "1.flac"), artist="A", title="1")
    audio(tmp_path / "old" / "B" / "X" / "2.flac")
    before = rows(read(tmp_path / "old"))
    shutil.move(tmp_path / "old", tmp_path / "new")
    assert rows(read(tmp_path / "new")) == before


def test_files_without_the_id_of_their_artist_get_it(tmp_path: Path) -> None:
    tag(audio(tmp_path / "1.flac"), artist="Björk", title="1", artist_mbid=ARTIST)
    tag(audio(tmp_path / "2.flac"), artist="BJÖRK ", title="2")
    # Two artists of one name, with ids of their own: a file without one is of neither.
    for number, mbid in enumerate((ARTIST, ALBUM), start=3):
        tag(audio(tmp_path / f"{number}.flac"), artist="Nirvana", title="x", artist_mbid=mbid)
    tag(audio(tmp_path / "5.flac"), artist="Nirvana", title="x")
    ids = [row["artist_id"] for row in rows(read(tmp_path))]
    assert ids == [ARTIST, ARTIST, ARTIST, ALBUM, "nirvana"]


def test_guests_and_collections(tmp_path: Path) -> None:
    guest = {"artist": "A feat. B", "album_artist": "A", "title": "x"}
    tag(audio(tmp_path / "1.flac"), **guest)
    tag(audio(tmp_path / "2.flac"), artist="C", album_artist="Various Artists", title="x")
    assert [row["artist"] for row in rows(read(tmp_path))] == ["A", "C"]


def test_an_id_that_two_files_have_is_not_taken(tmp_path: Path) -> None:
    for name in ("1", "2"):
        tag(audio(tmp_path / f"{name}.flac"), artist="A", title=name, track_mbid=TRACK)
    assert [row["track_id"] for row in rows(read(tmp_path))] == ["1.flac", "2.flac"]


@pytest.mark.parametrize("kind", ["mp3", "flac", "ogg", "wav"])
def test_damaged_files_have_the_names_of_their_folders(tmp_path: Path, kind: str) -> None:
    file = tag(audio(tmp_path / "A" / f"1.{kind}"), image(), **ALL)
    content = file.read_bytes()
    for length in (0, 10, 100, len(content) // 2):
        file.write_bytes(content[:length])
        assert rows(read(tmp_path))[0]["audio"] == f"A/1.{kind}"


def test_a_compressed_frame_expands_within_a_bound(tmp_path: Path) -> None:
    packed = zlib.compress(bytes(1 << 30), 9)  # a gigabyte of a megabyte

    def syncsafe(number: int) -> bytes:
        return bytes(number >> shift & 127 for shift in (21, 14, 7, 0))

    content = struct.pack(">I", 1 << 28) + packed
    frame = b"TIT2" + syncsafe(len(content)) + b"\x00\x09" + content
    file = tmp_path / "bomb.mp3"
    file.write_bytes(b"ID3\x04\x00\x00" + syncsafe(len(frame)) + frame + bytes(4096))
    tracemalloc.start()
    tags = tags_of(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert tags.title is None
    assert peak < 250 << 20
