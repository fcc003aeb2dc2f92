from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from musicrec.evaluation import metrics


@pytest.mark.parametrize("seed", range(20))
def test_hubness_equals_scipy_s_skewness_of_the_occurrences(seed: int) -> None:
    generator = np.random.default_rng(seed)
    candidates, k = int(generator.integers(12, 60)), int(generator.integers(1, 12))
    popular = generator.exponential(size=candidates)
    neighbours = np.argsort(-(popular + generator.uniform(size=(25, candidates))), axis=1)[:, :k]
    counted = np.array(
        [np.count_nonzero(neighbours == candidate) for candidate in range(candidates)]
    )
    assert metrics.k_occurrences(neighbours, candidates).tolist() == counted.tolist()
    assert metrics.hubness(neighbours, candidates) == pytest.approx(
        scipy.stats.skew(counted), abs=1e-9
    )
    assert metrics.coverage(neighbours, candidates) == np.count_nonzero(counted) / candidates


def test_hubs_by_hand() -> None:
    neighbours = np.array(
        [[0, 1], [0, 2], [0, 1]]
    )  # occurrences 3, 2, 1, 0, 0, 0: mean 1, deviations 2, 1, 0, -1, -1, -1
    assert metrics.coverage(neighbours, 6) == 0.5
    assert metrics.hubness(neighbours, 6) == pytest.approx((8 + 1 - 3) / 6 / (8 / 6) ** 1.5)


def test_random_rankings_have_the_binomial_s_skewness_and_hubs_more() -> None:
    generator = np.random.default_rng(0)
    queries, candidates, k = 200, 20_000, 20
    fraction = k / candidates
    expected = (1 - 2 * fraction) / math.sqrt(queries * fraction * (1 - fraction))
    rankings = np.array(
        [generator.choice(candidates, size=k, replace=False) for _ in range(queries)]
    )
    assert metrics.hubness(rankings, candidates) == pytest.approx(expected, rel=0.1)
    rankings[:, 0] = 7
    assert metrics.hubness(rankings, candidates) > 10 * expected


def test_candidates_that_occur_equally_often_have_no_skewness() -> None:
    assert math.isnan(metrics.hubness(np.array([[0, 1], [2, 3]]), 4))
    assert math.isnan(metrics.hubness(np.zeros((3, 0)), 4))
    assert metrics.coverage(np.zeros((3, 0)), 4) == 0


@pytest.mark.parametrize(
    ("neighbours", "message"),
    [([0, 1], "matrix"), ([[0, 4]], "4 candidates are 0 to 3"), ([[-1, 0]], "holds -1 to 0")],
)
def test_neighbours_that_are_none_are_named(neighbours: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.k_occurrences(np.array(neighbours), 4)
