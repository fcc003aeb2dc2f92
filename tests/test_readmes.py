"""The READMEs: their bounds, their links, the files that they name, and the walk of one clip."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
READMES = sorted(
    path
    for folder in (".", "jobs", "tune", "cluster", "musicrec")
    for path in (ROOT / folder).glob("README.md" if folder == "." else "**/README.md")
)
COLUMNS = 100
# A folder of the repository, or of the package in READMEs inside it, then a file.
NAMED_FILE = re.compile(r"`((?:[a-z_]+/)+[a-z_0-9]+\.(?:py|yaml|md))`")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(path: Path) -> list[str]:
    """Return the lines outside of code blocks and tables."""
    lines, code = [], False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            code = not code
        elif not code and not line.startswith("|"):
            lines.append(line)
    return lines


def test_the_top_level_readme_is_short() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 180
    assert len(text.split()) <= 2000
    assert [line for line in text.splitlines() if len(line) > COLUMNS] == []


@pytest.mark.parametrize("path", READMES, ids=name)
def test_prose_is_wrapped(path: Path) -> None:
    assert [line for line in prose(path) if len(line) > COLUMNS] == []


@pytest.mark.parametrize("path", READMES, ids=name)
def test_links_lead_to_files(path: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
    targets = [link for link in links if "://" not in link]
    assert [link for link in targets if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", READMES, ids=name)
def test_named_files_exist(path: Path) -> None:
    named = NAMED_FILE.findall(path.read_text(encoding="utf-8"))
    places = (ROOT, ROOT / "musicrec", path.parent)
    assert [file for file in named if not any((place / file).exists() for place in places)] == []


def test_every_job_is_described() -> None:
    text = (ROOT / "jobs" / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in (ROOT / "jobs").glob("*.py") if path.name not in text] == []


def test_the_walk_of_one_clip_enters_each_room_once() -> None:
    text = (ROOT / "musicrec" / "README.md").read_text(encoding="utf-8")
    files = re.findall(r"^\| \d+ \| `([a-z_/]+\.py)` \|", text, re.MULTILINE)
    assert 20 <= len(files) <= 30
    assert len(set(files)) == len(files)
    assert [file for file in files if not (ROOT / "musicrec" / file).is_file()] == []
    rooms = [file.partition("/")[0] for file in files]
    entered = [room for room, before in zip(rooms, [None, *rooms], strict=False) if room != before]
    repeated = {room for room in entered if entered.count(room) > 1}
    assert repeated <= {"storage"}


def test_every_room_stands_in_the_map() -> None:
    text = (ROOT / "musicrec" / "README.md").read_text(encoding="utf-8")
    rooms = {path.parent.name for path in (ROOT / "musicrec").glob("*/__init__.py")}
    table = text.partition("## Rooms")[2].partition("## Glossary")[0]
    assert [room for room in sorted(rooms) if f"`{room}`" not in table] == []
