from __future__ import annotations

import io
import json
import logging
import subprocess
import sys

import pytest
from rich.console import Console

from musicrec.telemetry import log

SECRET = "s3://key:secret@bucket/x"
HIDDEN = "s3://***@bucket/x"


@pytest.fixture
def records(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> pytest.CaptureFixture[str]:
    monkeypatch.setattr(log, "console", Console(file=io.StringIO(), force_terminal=False))
    return capsys


def lines(captured: pytest.CaptureFixture[str]) -> list[dict]:
    return [json.loads(line) for line in captured.readouterr().out.splitlines()]


def test_any_record_of_the_logger_is_one_json_line_without_credentials(records) -> None:
    log.logger().warning("no answer from %s", SECRET, extra={"fields": {"uri": SECRET, "n": 2}})
    (line,) = lines(records)
    assert line["event"] == f"no answer from {HIDDEN}"
    assert (line["uri"], line["n"], line["level"], line["stage"]) == (
        HIDDEN,
        2,
        "warning",
        "musicrec",
    )


def test_the_traceback_of_a_record_is_redacted(records) -> None:
    try:
        raise OSError(f"cannot reach {SECRET}")
    except OSError:
        log.logger().exception("failed")
    (line,) = lines(records)
    assert f"OSError: cannot reach {HIDDEN}" in line["traceback"]
    assert "secret" not in line["traceback"]


def test_text_from_a_catalog_is_no_markup_on_a_terminal(monkeypatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(log, "console", Console(file=stream, force_terminal=True, width=120))
    log.logger().info("artist [/b]", extra={"stage": "catalog", "fields": {"name": "[red]x"}})
    assert "artist [/b]" in stream.getvalue()
    assert "[red]x" in stream.getvalue()


def test_a_child_logger_reaches_the_handler(records) -> None:
    log.logger()
    logging.getLogger("musicrec.child").info("hello")
    assert [line["event"] for line in lines(records)] == ["hello"]


@pytest.mark.parametrize(("level", "shown"), [("warning", []), ("info", ["b"])])
def test_the_level_is_set_by_an_environment_variable(level: str, shown: list[str]) -> None:
    code = "from musicrec.telemetry.progress import event; event('a', 'b')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(sys.path), "MUSICREC_LOG_LEVEL": level},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == shown
