"""Dry run on a terminal: nothing is cut off in 80 columns, and each number has its unit."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from musicrec.dry_run import run as plan
from musicrec.dry_run.estimate import Extraction, Training

LARGE = Extraction(
    "audio",
    109_883,
    0,
    32,
    {"not_found": 1, "truncated": 2},
    (0.032, 0.24),
    1234.5,
    1300.0,
    2.5e12,
    1.8e8,
)
SMALL = Extraction(
    "artwork", 208, 200, 8, {}, (0.0, 0.32), 1.09 / 3600, 2 / 3600, 145_021.5, 1.27e6
)
SUBMODEL = Training("chroma.large_rnn", 87_906, 0.0123, 0.3, 2.1, 60.0)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the lines of a plan on a terminal of 80 columns."""
    stream = io.StringIO()
    monkeypatch.setattr(
        plan, "console", Console(file=stream, force_terminal=True, no_color=True, width=80)
    )
    planned = plan.Plan(
        [LARGE, SMALL],
        [SUBMODEL],
        "cpu",
        20.0,
        {"extraction": 5.0, "training": (1.0, 2.0)},
        ["no GPU"],
    )
    plan.show_plan(planned)
    return [" ".join(line.split()) for line in Text.from_ansi(stream.getvalue()).plain.splitlines()]


def test_a_plan_fits_a_terminal(shown: list[str]) -> None:
    text = "\n".join(shown)
    assert "…" not in text
    assert "audio 109883 0 1/32 2/32 3.2 .. 24 1,234 h 2.5 TB 180 MB" in text
    assert "artwork 208 200 0/8 0/8 0 .. 32 1.09 s 145 kB 1.27 MB" in text
    assert "chroma.large_rnn 87906 12.3 ms 18 min 2.1 h 60 h" in text
    assert "Extraction on this cluster: 20 h" in text
    assert "Cost of training: 1 .. 2" in text
    assert "no GPU" in text
