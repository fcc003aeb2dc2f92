"""Music4All and MTG-Jamendo as published, in small trees, and faults in their tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tagged import audio

from musicrec.catalog.tables import CatalogError
from musicrec.config.jobs import Config
from musicrec.config.sections import CatalogSettings
from musicrec.pipeline.catalog import open_run, report_catalog

IDS = [f"song{number:02d}" for number in range(12)]


def music4all(root: Path) -> Path:
    def table(name: str, header: str, rows: list[str]) -> None:
        (root / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")

    root.mkdir()
    artists = {name: f'The "{name[-1]}" Örchestra' for name in IDS}
    rows = [f"{name}\t{artists[name]}\tSong, {name}\tAlbum" for name in IDS]
    table("id_information.csv", "id\tartist\tsong\talbum_name", rows)
    rows = [f"{name}\tspot\t40.0\t{1990 + place}\t.5" for place, name in enumerate(IDS)]
    header = "id\tspotify_id\tpopularity\trelease\tdanceability"
    table("id_metadata.csv", header, rows)
    table("id_genres.csv", "id\tgenres", [f"{name}\tpop,indie rock" for name in IDS[1:]])
    table("id_lang.csv", "id\tlang", [f"{name}\ten" for name in IDS])
    plays = [f"user{user}\t{name}\t2019-01-01 10:00" for user in "abc" for name in IDS[:4]]
    table("listening_history.csv", "user\tsong\ttimestamp", plays)
    (root / "lyrics").mkdir()
    (root / "lyrics" / f"{IDS[0]}.txt").write_text("la la\nla")
    for name in IDS:
        (root / "audios").mkdir(exist_ok=True)
        (root / "audios" / f"{name}.mp3").write_bytes(b"clip")
    return root


def jamendo(root: Path) -> Path:
    root.mkdir()
    rows = [
        f"track_{n}\tartist_{n % 6}\talbum_{n}\t0{n % 2}/{n}.mp3\t200.1\tgenre---rock\t"
        + ("instrument---piano\tgenre---pop" if n % 2 else "mood/theme---happy")
        for n in range(12)
    ]
    header = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS"
    (root / "autotagging.tsv").write_text("\n".join([header, *rows]))
    header = "TRACK_ID\tARTIST_ID\tALBUM_ID\tTRACK_NAME\tARTIST_NAME\tALBUM_NAME\tRELEASEDATE\tURL"
    names = "track_1\tartist_1\talbum_1\tMilk\tBand\tRecord\t2006-05-17\thttp://x"
    (root / "raw.meta.tsv").write_text(f"{header}\n{names}\n")
    audio(root / "00" / "0.wav").rename(root / "00" / "0.mp3")
    return root


def config(root: Path, form: str) -> Config:
    rules = CatalogSettings(form=form)
    return Config(store=str(root.parent / "store"), catalog=str(root), catalog_rules=rules)


def test_music4all(tmp_path: Path) -> None:
    tracks = open_run(config(music4all(tmp_path / "m"), "music4all")).catalog.tracks.to_pylist()
    assert [row["track_id"] for row in tracks] == IDS
    artist = 'The "0" Örchestra'
    first = {name: value for name, value in tracks[0].items() if name != "split"}
    assert first == {
        "track_id": "song00",
        "title": "Song, song00",
        "artist_id": artist,
        "artist": artist,
        "album_id": f"{artist}/Album",
        "album": "Album",
        "year": 1990,
        "audio": "audios/song00.mp3",
        "artwork": None,
        "lyrics": "la la\nla",
        "language": "en",
        "genres": [],
        "genre_top": None,
    }
    assert tracks[1]["genres"] == ["pop", "indie rock"]
    assert {row["split"] for row in tracks} == {"train", "validation", "test"}


def test_music4all_is_related_by_its_listening_history(tmp_path: Path) -> None:
    made = config(music4all(tmp_path / "m"), "music4all")
    run = open_run(Config(**{**vars(made), "plays": made.catalog, "plays_form": "music4all"}))
    names = {f'The "{number}" Örchestra' for number in range(4)}
    assert set(run.catalog.related["artist_id"].to_pylist()) == names
    assert run.catalog.related.num_rows == 12


def test_jamendo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = config(jamendo(tmp_path / "j"), "jamendo")
    tracks = open_run(made).catalog.tracks.to_pylist()
    assert len(tracks) == 12
    assert [row["genres"] for row in tracks[:2]] == [["rock"], ["rock", "pop"]]
    names = ("track_id", "artist_id", "album_id", "audio", "title", "artist", "album", "year")
    assert [tracks[1][name] for name in names] == [
        *("track_1", "artist_1", "album_1", "01/1.mp3", "Milk", "Band", "Record", 2006)
    ]
    assert tracks[0]["title"] is None
    capsys.readouterr()
    report_catalog(made)
    said = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert len([line for line in said if "file not found" in line]) == 11  # all but 00/0.mp3


FAULTS = {
    "no table": (None, "error: autotagging.tsv: missing table; autotagging.tsv must be in the"),
    "commas": (
        lambda text: text.replace("\t", ","),
        "error: autotagging.tsv, TRACK_ID: missing column; its first line must name it once",
    ),
    "a short row": (
        lambda text: text.replace("\t200.1\tgenre---rock\tmood/theme---happy", "", 1),
        "autotagging.tsv row 1 'track_0\\tartist_0\\talbum_0\\t00/0.mp3': wrong number of cells; "
        "expected 6 cells, found 4",
    ),
    "Latin-1": (
        lambda text: text.replace("00/0", "00/\udcf6", 1),
        ": not UTF-8; save the file as UTF-8",
    ),
    "an id twice": (
        lambda text: text.replace("track_1\t", "track_0\t", 1),
        "error: tracks row 2, track_id 'track_0': duplicate track",
    ),
    "no artist": (
        lambda text: text.replace("artist_0", "", 1),
        "error: tracks row 1, artist_id: empty cell",
    ),
    "outside": (
        lambda text: text.replace("00/0.mp3", "../0.mp3", 1),
        "error: tracks row 1, audio '../0.mp3': outside the catalog's root",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_one_line(tmp_path: Path, fault: str) -> None:
    change, line = FAULTS[fault]
    file = jamendo(tmp_path / "j") / "autotagging.tsv"
    if change is None:
        file.unlink()
    else:
        file.write_bytes(change(file.read_text()).encode("utf-8", "surrogateescape"))
    with pytest.raises(CatalogError) as raised:
        open_run(config(tmp_path / "j", "jamendo"))
    assert len([each for each in str(raised.value).splitlines() if line in each]) == 1
