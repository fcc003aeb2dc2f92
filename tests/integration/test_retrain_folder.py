"""The first thing that a newcomer has: a folder of tagged files and a log of plays, to a champion
by one command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_catalog import RATE, SPLITS, WORDS, YEARS, picture, sound
from small_run import run_job_here, tiny_yaml
from tagged import audio, tag

from musicrec.storage.store import Store

pytestmark = pytest.mark.timeout(600)


def library(root: Path) -> dict[str, list[str]]:
    """Write two tagged tracks of each artist; return the artists of each school."""
    schools: dict[str, list[str]] = {}
    for number, school in enumerate(SPLITS):
        for place in range(6):
            artist = f"{school.title()} Player {place}"
            schools.setdefault(school, []).append(artist)
            for track in range(2):
                file = root / artist / "Album" / f"{track}.{('flac', 'mp3', 'ogg')[place % 3]}"
                audio(file, sound(school, [number, place, track]), RATE)
                tag(
                    file,
                    picture([number, place]),
                    artist=artist,
                    title=f"Piece {track}",
                    date=str(YEARS[school]),
                    genre=[school],
                    lyrics=WORDS[school],
                )
    return schools


def events(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")
    ]


def test_a_folder_and_plays_become_a_champion(
    ray_session: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    schools = library(tmp_path / "music")
    log = [
        f"{school}-{user},{artist},{1 + user}"
        for school, artists in schools.items()
        for user in range(5)
        for artist in artists
    ]
    (tmp_path / "plays.csv").write_text("\n".join(["user,item,count", *log, "u,,1"]))
    store, settings = str(tmp_path / "store"), tmp_path / "tiny.yaml"
    settings.write_text(tiny_yaml(store, str(tmp_path / "music")).replace("location, ", ""))
    arguments = ["--config", str(settings), "--catalog-rules.form", "folder"]
    arguments += ["--plays", str(tmp_path / "plays.csv")]
    assert run_job_here(monkeypatch, "retrain", *arguments) == 0
    said = events(capsys)
    (related,) = (line for line in said if line["stage"] == "relate" and "groups" in line)
    assert (related["rows_in"], related["rows_in_errors"]) == (len(log) + 1, 1)
    (read,) = (line for line in said if line["stage"] == "catalog" and line["event"] == "read")
    assert (read["tracks"], read["artists"], read["related"]) == (36, 18, 18 * 5)
    (key,) = Store(store).folders("registered")
    assert Store(store).stage("registered", key).success() is not None
    assert run_job_here(monkeypatch, "retrain", *arguments) == 0
    again = [line["event"] for line in events(capsys)]
    assert again.count("already complete, nothing to do") >= 5
