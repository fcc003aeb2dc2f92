"""Hostile and broken files are read or refused with a reason; none crashes, hangs or fills memory.

A part of the ten thousand is read each time; all of them (some 7 minutes on two cores), with a
table of outcomes::

    HOSTILE_INPUTS=all pytest -s tests/hostile --timeout 7200
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from bombs import EVERY_BOMB
from hostile_inputs import ALL
from reading import SOUND
from samples import FORMS
from worker import Outcome
from workers import SECONDS, read_all

PEAK_BYTES = 2_000_000_000
READ_ALL = os.environ.get("HOSTILE_INPUTS") == "all"
EVERY = 1 if READ_ALL else 24


def numbers() -> list[int]:
    """Select every kind of bomb once, and a fraction of the others, evenly over formats."""
    rest = range(len(EVERY_BOMB), ALL)
    return [
        *range(len(EVERY_BOMB)),
        *(number for number in rest if number // len(FORMS) % EVERY == 0),
    ]


@pytest.mark.slow
@pytest.mark.timeout(7200 if READ_ALL else 600)
def test_each_input_is_read_or_refused() -> None:
    selected = numbers()
    outcomes = list(read_all(selected))
    if READ_ALL:
        print(summary(outcomes))
    assert sorted(outcome.number for outcome in outcomes) == selected  # none is lost
    assert [f"{outcome}\n{outcome.failure}" for outcome in outcomes if outcome.failure] == []
    assert [
        outcome
        for outcome in outcomes
        if outcome.peak_bytes > PEAK_BYTES or outcome.seconds > SECONDS
    ] == []
    # The test can fail: of every format some files are valid, and most are not.
    valid = Counter(outcome.form for outcome in outcomes if outcome.reason == SOUND)
    assert set(valid) == set(FORMS)
    assert valid.total() < 0.6 * len(outcomes)
    assert len({outcome.reason for outcome in outcomes}) > 10


def summary(outcomes: list[Outcome]) -> str:
    """Format the outcomes by format."""
    lines = [f"{len(outcomes)} inputs, {sum(outcome.bytes for outcome in outcomes):,} bytes"]
    for form in FORMS:
        of_form = [outcome for outcome in outcomes if outcome.form == form]
        reasons = ", ".join(
            f"{reason} {count}"
            for reason, count in Counter(outcome.reason for outcome in of_form).most_common()
        )
        slowest, peak = (
            max(outcome.seconds for outcome in of_form),
            max(outcome.peak_bytes for outcome in of_form),
        )
        lines.append(
            f"{form:8}{len(of_form):6}  slowest {slowest:5.1f} s  peak "
            f"{peak / 1e6:5.0f} MB  {reasons}"
        )
    return "\n".join(lines)
