"""Genres that another program spelled in its own way are not used without a warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from musicrec.catalog.validate import load_validated
from musicrec.storage.store import resolve


def warnings(folder: Path, genres: list[str], column: str = "genres") -> list[str]:
    rows = [f't{i},a{i},{i}.mp3,"{cell}"\n' for i, cell in enumerate(genres)]
    (folder / "tracks.csv").write_text(f"track_id,artist_id,audio,{column}\n" + "".join(rows))
    artists = [f'a{i},"{cell}"\n' for i, cell in enumerate(genres)]
    (folder / "artists.csv").write_text("artist_id,genres\n" + "".join(artists))
    related = [f"a{i},a{(i + 1) % len(genres)},1\n" for i in range(len(genres))]
    (folder / "related.csv").write_text("artist_id,related_artist_id,rank\n" + "".join(related))
    _, problems = load_validated(str(folder), resolve(str(folder)), seed=0)
    assert {problem.severity for problem in problems} <= {"warning"}
    return [str(problem) for problem in problems]


def test_each_other_spelling_is_one_line_with_an_example_and_the_fix(tmp_path: Path) -> None:
    cells = ["['rock', 'pop']", "['folk']", "rock|pop", "rock, pop", "rock/pop", "[]", "nan"]
    lines = warnings(tmp_path, cells)
    fix = "write rock;pop: semicolons separate genres"
    assert lines[:4] == [
        "warning: tracks, genres '[]': a placeholder counts as a genre (2 cells); "
        "leave these cells empty",
        f"warning: tracks, genres \"['rock', 'pop']\": a printed list counts as one genre "
        f"(2 cells); {fix}",
        f"warning: tracks, genres 'rock|pop': genres separated by | count as one (1 cell); {fix}",
        "warning: tracks, genres 'rock, pop': a genre with , or / (2 cells); "
        f"if these are several genres, {fix}",
    ]
    assert lines[4:] == [line.replace("tracks", "artists") for line in lines[:4]]


@pytest.mark.parametrize(
    "cells",
    [
        ["rock;pop", "folk", "Hip-Hop", "Soul-RnB", "R&B", "", "(Post) Punk", "Nanjing"],
        ["Folk, World, & Country;rock", "Old-Time / Historic", "pop"],
    ],
)
def test_genres_as_documented_give_no_warning(tmp_path: Path, cells: list[str]) -> None:
    assert warnings(tmp_path, cells) == []


def test_a_top_genre_is_looked_at_too(tmp_path: Path) -> None:
    (line,) = [
        line for line in warnings(tmp_path, ["rock", "nan", "pop;x"], "genre_top") if "top" in line
    ]
    assert line.startswith("warning: tracks, genre_top 'nan': a placeholder counts as a genre")
