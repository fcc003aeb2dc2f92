from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from musicrec.telemetry import log, progress
from musicrec.telemetry.progress import Meter, event

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, moved by hand."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Console(file=io.StringIO(), force_terminal=False)
    for module in (log, progress):
        monkeypatch.setattr(module, "console", plain)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    shown = Console(file=stream, force_terminal=True, width=120)
    for module in (log, progress):
        monkeypatch.setattr(module, "console", shown)
    return stream


def said(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_event_is_one_json_line_where_there_is_no_terminal(
    lines: None, capsys: pytest.CaptureFixture[str]
) -> None:
    event("extract", "done\nindeed", rows_in=3, share=0.5, where=Path("x"))
    (line,) = said(capsys)
    assert abs(line.pop("time") - time.time()) < 60
    assert line.pop("run") == log.run_name()
    assert line == {
        "stage": "extract",
        "event": "done\nindeed",
        "rows_in": 3,
        "share": 0.5,
        "where": "x",
    }


def test_an_event_is_prose_at_a_terminal(
    terminal: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    event("extract", "done", rows_in=3, share=0.123456)
    assert capsys.readouterr().out == ""
    assert "done" in terminal.getvalue()
    assert "rows in 3, share 0.123" in terminal.getvalue()


def test_a_meter_says_its_counts_at_most_every_ten_seconds(
    lines: None, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Meter("extract", 100, "rows") as meter:
        for second in range(25):
            clock[0] = 100.0 + second
            meter.advance(2, errors=second)
    assert [
        (line["event"], line["done"], line["total"], line["unit"], line["errors"])
        for line in said(capsys)
    ] == [
        ("progress", 24, 100, "rows", 11),
        ("progress", 46, 100, "rows", 22),
    ]
    assert meter.done == 50


def test_a_count_can_be_dropped(
    lines: None, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Meter("train", 2, "models") as meter:
        meter.advance(0, first="epoch 1", second="epoch 2")
        meter.drop("first")
        meter.drop("never shown")
        clock[0] += 11
        meter.advance(1)
    (line,) = said(capsys)
    assert line["second"] == "epoch 2"
    assert "first" not in line


def test_a_meter_is_a_bar_at_a_terminal(
    terminal: io.StringIO, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Meter("extract", 4, "rows") as meter:
        clock[0] += 60
        meter.advance(3, cpu_seconds=1.23456)
        meter._bar.refresh()
    shown = terminal.getvalue()
    assert "extract" in shown
    assert "3/4" in shown
    assert "cpu seconds 1.23" in shown
    assert capsys.readouterr().out == ""


def test_a_bar_ends_where_the_work_fails(terminal: io.StringIO) -> None:
    with pytest.raises(ZeroDivisionError), Meter("extract", 4, "rows") as meter:
        raise ZeroDivisionError
    assert not meter._bar.live.is_started


def test_a_pipe_gets_json_lines_as_they_happen() -> None:
    # Nothing flushes at the end.
    code = (
        "from musicrec.telemetry.progress import event; event('a', 'b', rows=1); "
        "import os; os._exit(0)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout)["rows"] == 1
