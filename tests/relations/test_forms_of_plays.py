"""Each form of plays and of similarities, in a small file of its own."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from musicrec.relations.relate import Related

Relate = Callable[..., Related]
# Two users who both play A and B, and one who plays C.
PLAYS = (("u1", "A"), ("u1", "B"), ("u2", "B"), ("u2", "A"), ("u3", "C"))
TOGETHER = {"A": ["B"], "B": ["A"]}
LASTFM = "userid-timestamp-artid-artname-traid-traname.tsv"


def lists(done: Related) -> dict[str, list[str]]:
    rows = sorted(done.tables().to_pylist(), key=lambda row: (row["artist_id"], row["rank"]))
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["artist_id"], []).append(row["related_artist_id"])
    return found


def test_csv_with_other_columns_and_names(tmp_path: Path, related: Relate) -> None:
    rows = [f'"x, y",{user},{item}' for user, item in PLAYS]
    (tmp_path / "p.csv").write_text("﻿title,pid,name\r\n" + "\r\n".join(rows), encoding="utf-8")
    done = related(tmp_path / "p.csv", user_column="pid", item_column="name")
    assert lists(done) == TOGETHER


def test_compressed_csv(tmp_path: Path, related: Relate) -> None:
    text = "\n".join(["user,item", *(",".join(play) for play in PLAYS)])
    (tmp_path / "p.csv.gz").write_bytes(gzip.compress(text.encode()))
    done = related(tmp_path / "p.csv.gz")
    assert lists(done) == TOGETHER
    assert done.record["rows_in"] == len(PLAYS)


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int32(), pa.string())])
def test_a_folder_of_parquet(tmp_path: Path, related: Relate, kind: pa.DataType) -> None:
    folder = tmp_path / "plays" / "2020"
    folder.mkdir(parents=True)
    for number, play in enumerate(PLAYS):
        columns = {"user": pa.array([number // 2]), "item": pa.array([play[1]]).cast(kind)}
        pq.write_table(pa.table(columns), folder / f"{number}.parquet")
    assert lists(related(tmp_path / "plays")) == TOGETHER


def test_times_of_parquet_are_timestamps(tmp_path: Path, related: Relate) -> None:
    times = pa.array([0, 60_000, 0, 9_000_000, 5_000], pa.timestamp("ms"))
    users, items = zip(*PLAYS, strict=True)
    pq.write_table(pa.table({"user": users, "item": items, "time": times}), tmp_path / "p.parquet")
    done = related(tmp_path / "p.parquet", group="session", minimum_support=1)
    assert lists(done) == TOGETHER  # of u1; the plays of u2 are hours apart
    assert done.record["groups"] == 4


def lastfm(folder: Path) -> Path:
    rows = [
        f'{user}\t2009-05-04T23:0{place}:57Z\tid-{item}\t"{item}" & Co\ttrack-{item}\tSong {item}'
        for place, (user, item) in enumerate(PLAYS)
    ]
    rows.append("u3\t2009-05-04T23:08:57Z\t\tUnknown\t\tSong")
    (folder / LASTFM).write_text("\n".join(rows) + "\n")
    return folder


def test_lastfm1k(tmp_path: Path, related: Relate) -> None:
    folder = lastfm(tmp_path)
    done = related(folder, "lastfm1k", maximum_failed_share=0.5)
    assert lists(done) == {"id-A": ["id-B"], "id-B": ["id-A"]}
    assert done.record["reasons"] == {"missing_item": 1}
    by_name = related(folder, "lastfm1k", identify_by="name")
    assert lists(by_name) == {'"A" & Co': ['"B" & Co'], '"B" & Co': ['"A" & Co']}
    tracks = related(folder, "lastfm1k", item="track", group="session", maximum_failed_share=0.5)
    assert lists(tracks) == {"track-A": ["track-B"], "track-B": ["track-A"]}


def test_listenbrainz(tmp_path: Path, related: Relate) -> None:
    folder = tmp_path / "listens" / "2021"
    folder.mkdir(parents=True)
    listens: list[Any] = [
        {
            "user_id": user,
            "timestamp": 1_609_459_200 + place,
            "track_metadata": {
                "artist_name": item,
                "track_name": "Song",
                "release_name": "Album",
                "mbid_mapping": {"artist_mbids": [f"mbid-{item}", "guest"], "recording_mbid": "r"},
            },
        }
        for place, (user, item) in enumerate(PLAYS)
    ]
    listens.append({"user_id": 7, "timestamp": 1, "track_metadata": {"artist_name": "Unmapped"}})
    text = "\n".join(map(json.dumps, listens))
    (folder / "1.listens").write_text(text + '\n{"user_id": 1, \n[1]\n')
    done = related(tmp_path, "listenbrainz", maximum_failed_share=0.5)
    assert lists(done) == {"mbid-A": ["mbid-B"], "mbid-B": ["mbid-A"]}
    assert done.record["reasons"] == {"missing_item": 1, "not_json": 2}
    by_name = related(tmp_path, "listenbrainz", identify_by="name", maximum_failed_share=0.5)
    assert lists(by_name) == TOGETHER
    songs = related(
        tmp_path, "listenbrainz", item="track", identify_by="name", maximum_failed_share=0.5
    )
    assert lists(songs) == {"A - Song": ["B - Song"], "B - Song": ["A - Song"]}


def test_music4all_with_its_table_of_tracks(tmp_path: Path, related: Relate) -> None:
    rows = [f"{user}\tt-{item}\t2019-01-0{n + 1} 10:00" for n, (user, item) in enumerate(PLAYS)]
    rows.append("u3\tt-X\t2019-01-07 10:00")
    (tmp_path / "listening_history.csv").write_text("\n".join(["user\tsong\ttimestamp", *rows]))
    names = [f"t-{item}\t{item}\tSong\tAlbum {item}" for item in "ABC"]
    information = tmp_path / "id_information.csv"
    information.write_text("\n".join(["id\tartist\tsong\talbum_name", *names]))
    done = related(tmp_path, "music4all", tracks=str(information), maximum_failed_share=0.5)
    assert lists(done) == TOGETHER
    assert done.record["reasons"] == {"unknown_track": 1}
    tracks = related(tmp_path, "music4all", item="track")
    assert lists(tracks) == {"t-A": ["t-B"], "t-B": ["t-A"]}


def test_similarities_of_the_million_song_dataset(tmp_path: Path, related: Relate) -> None:
    base = sqlite3.connect(tmp_path / "artist_similarity.db")
    base.execute("CREATE TABLE artists (artist_id TEXT PRIMARY KEY)")
    base.execute("CREATE TABLE similarity (target TEXT, similar TEXT)")
    rows = [("AR1", "AR3"), ("AR1", "AR2"), ("AR2", "AR1"), ("AR1", "AR1"), ("AR1", None)]
    base.executemany("INSERT INTO similarity VALUES (?, ?)", rows)
    base.commit()
    base.close()
    done = related(tmp_path, "msd", maximum_failed_share=0.5)
    assert lists(done) == {"AR1": ["AR3", "AR2"], "AR2": ["AR1"]}
    assert done.record["rows_in"] == len(rows)
    assert done.record["reasons"] == {"missing_item": 1}


def test_connections(tmp_path: Path, related: Relate) -> None:
    rows = [
        {"id": "a", "connections": [["b", 0.2], ["c", 0.9], ["d", "x"]]},
        {"id": "b", "connections": [["a", 0.2]]},
        {"id": "e"},
    ]
    (tmp_path / "artists.ndjson").write_text("\n".join(map(json.dumps, rows)) + "\nnull")
    done = related(tmp_path, "connections", maximum_failed_share=0.9)
    assert lists(done) == {"a": ["c", "b"], "b": ["a"]}
    assert done.record["rows_in"] == 6  # four connections, a row without them, a line without any
    assert done.record["reasons"] == {"not_a_connection": 1, "no_connections": 1, "not_json": 1}


def test_olga(tmp_path: Path, related: Relate) -> None:
    table = pa.table({"track_id": ["a", "b"], "sim_artist_id": [["c", "b"], ["a"]]})
    pq.write_table(table, tmp_path / "olga.parquet")
    done = related(tmp_path, "olga", neighbours=1)
    assert lists(done) == {"a": ["c"], "b": ["a"]}
