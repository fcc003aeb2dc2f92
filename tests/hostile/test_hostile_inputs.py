"""Hostile and broken files: each is read soundly or refused with a reason; none crashes, hangs, or takes more memory than is stated.

A part of the ten thousand is read each time; all of them (some 7 minutes on two cores), with a table of what became of them::

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
ALL_OF_THEM = os.environ.get("HOSTILE_INPUTS") == "all"
EVERY = 1 if ALL_OF_THEM else 24


def numbers() -> list[int]:
    """Every kind of bomb once, and a part of the others, of all formats alike."""
    rest = range(len(EVERY_BOMB), ALL)
    return [
        *range(len(EVERY_BOMB)),
        *(number for number in rest if number // len(FORMS) % EVERY == 0),
    ]


@pytest.mark.slow
@pytest.mark.timeout(7200 if ALL_OF_THEM else 600)
def test_each_is_read_soundly_or_refused() -> None:
    wanted = numbers()
    outcomes = list(read_all(wanted))
    if ALL_OF_THEM:
        print(summary(outcomes))
    assert sorted(outcome.number for outcome in outcomes) == wanted  # none is lost
    assert [f"{outcome}\n{outcome.failure}" for outcome in outcomes if outcome.failure] == []
    assert [
        outcome
        for outcome in outcomes
        if outcome.peak_bytes > PEAK_BYTES or outcome.seconds > SECONDS
    ] == []
    # The test can fail: of every format some are sound, and most are not.
    sound = Counter(outcome.form for outcome in outcomes if outcome.reason == SOUND)
    assert set(sound) == set(FORMS)
    assert sound.total() < 0.6 * len(outcomes)
    assert len({outcome.reason for outcome in outcomes}) > 10


def summary(outcomes: list[Outcome]) -> str:
    """What became of the inputs, by format."""
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
            f"{form:8}{len(of_form):6}  slowest {slowest:5.1f} s  peak {peak / 1e6:5.0f} MB  {reasons}"
        )
    return "\n".join(lines)
