"""Paired comparisons: the mean difference and its interval over artists."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from musicrec.evaluation.paired import PairedDifference, difference_by_artist, paired_difference


def test_the_interval_agrees_with_student_t_over_artists() -> None:
    generator = np.random.default_rng(0)
    ours, theirs = generator.normal(0.5, 0.2, 80), generator.normal(0.45, 0.2, 80)
    names = [f"a{number}" for number in range(80)]
    paired = difference_by_artist(
        dict(zip(names, ours, strict=True)), dict(zip(names, theirs, strict=True))
    )
    expected = scipy.stats.ttest_rel(ours, theirs).confidence_interval()
    assert paired.mean == pytest.approx(np.mean(ours - theirs))
    assert (paired.low, paired.high) == pytest.approx(tuple(expected), abs=0.006)
    assert paired.won == int((ours > theirs).sum())


def test_pairs_without_a_score_and_artists_of_one_system_are_left_out() -> None:
    ours = {"a": 0.5, "b": math.nan, "c": 0.5, "only ours": 1.0}
    paired = difference_by_artist(ours, {"a": 0.4, "b": 0.4, "c": 0.4, "only theirs": 0.0})
    assert (paired.artists, paired.won, paired.lost) == (2, 2, 0)
    assert paired.mean == pytest.approx(0.1)
    assert difference_by_artist({"a": math.nan}, {"a": 0.1}) is None


def test_an_artist_is_resampled_with_all_of_its_pairs_in_any_order() -> None:
    pairs = [(f"a{n % 5}", n % 5 / 10, 0.2) for n in range(50)]
    many = paired_difference(pairs)
    once = paired_difference(pairs[:5])
    assert many.artists == 5
    assert (many.low, many.high) == pytest.approx((once.low, once.high))
    reverse = paired_difference(pairs[::-1])
    assert (reverse.low, reverse.high) == pytest.approx((many.low, many.high))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.01, 0.1, "better"), (-0.1, -0.01, "worse"), (-0.01, 0.1, "not proven better")],
)
def test_the_verdict_needs_an_interval_without_zero(low: float, high: float, verdict: str) -> None:
    assert PairedDifference(0.0, low, high, 9).verdict == verdict
