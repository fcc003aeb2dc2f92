"""No text of a catalog controls the terminal that it is shown on."""

from __future__ import annotations

import io

import pytest

from musicrec.config.errors import UserError, print_error
from musicrec.pipeline.summary import recommendation_table
from musicrec.telemetry import log, progress
from musicrec.telemetry.printable import printable, printable_line
from musicrec.telemetry.progress import Meter, event
from musicrec.telemetry.tables import terminal_table

# A closing tag without an opening one, an emoji code, ESC[2J, OSC 52, an override of direction.
HOSTILE = "[/b][red]:smile:\x1b[2J\x1b]52;c;aGk=\x07\u202e\x9b1m"
SHOWN = r"[/b][red]:smile:\x1b[2J\x1b]52;c;aGk=\x07\u202e\x9b1m"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    # Without colours rich writes no control sequence of its own.
    console = log.PlainConsole(
        file=stream, force_terminal=True, no_color=True, color_system=None, width=200
    )
    for module in (log, progress):
        monkeypatch.setattr(module, "console", console)
    return stream


def holds_only(text: str, allowed: str = "\n") -> bool:
    return not {c for c in text if c in "\x07\x1b\x9b\u202e"} - {*allowed}


def test_control_characters_become_their_escapes() -> None:
    assert printable(HOSTILE) == SHOWN
    assert printable("Dvořák 作曲 🎵\nnext") == "Dvořák 作曲 🎵\nnext"
    assert printable("\r\t\x00\ud800\u2028") == r"\r\t\x00\ud800\u2028"
    assert printable_line("a\nb") == r"a\nb"


def test_log_lines_show_hostile_names(terminal: io.StringIO) -> None:
    event(HOSTILE, HOSTILE, name=HOSTILE)
    shown = terminal.getvalue()
    assert shown.count(SHOWN) == 3
    assert holds_only(shown)


def test_tables_show_hostile_names(terminal: io.StringIO) -> None:
    table = terminal_table(["name"], title=HOSTILE)
    table.add_row(f"a longer cell, so that the title is not wrapped: {HOSTILE}")
    log.console.print(table)
    log.console.print(HOSTILE)
    assert terminal.getvalue().count(SHOWN) == 3
    assert holds_only(terminal.getvalue())


def test_recommendations_show_hostile_names(terminal: io.StringIO) -> None:
    artist = {
        "artist_id": "a",
        "name": HOSTILE,
        "similarity": 0.5,
        "genres": [HOSTILE],
        "origin": HOSTILE,
        "country": None,
        "first_year": None,
        "last_year": None,
    }
    log.console.print(recommendation_table(f"Artists near {HOSTILE}", [artist]))
    assert "[/b][red]:smile:" in terminal.getvalue()
    assert holds_only(terminal.getvalue())


def test_bars_show_hostile_names(terminal: io.StringIO) -> None:
    with Meter(HOSTILE, 2, HOSTILE) as meter:
        meter.advance(name=HOSTILE)
        table = meter._bar.get_renderable()
    plain = io.StringIO()
    log.PlainConsole(file=plain, width=400).print(table)
    assert plain.getvalue().count(SHOWN) == 3
    assert holds_only(plain.getvalue())


def test_errors_show_hostile_names(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(UserError(f"artist {HOSTILE}"))
    assert capsys.readouterr().err == f"error: artist {SHOWN}\n"
