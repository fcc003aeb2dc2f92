from __future__ import annotations

import numpy as np
import pytest

from musicrec.evaluation.calibration import BLOCK, probability_calibration, similarity_calibration
from musicrec.evaluation.metrics import unit_rows


def test_probabilities_in_bins_with_the_fraction_that_came_true() -> None:
    result = probability_calibration(
        np.array([0.0, 0.05, 0.1, 0.95, 1.0, 0.5]), np.array([0, 1, 0, 1, 1, 0]), bins=10
    )
    assert result.counts.tolist() == [2, 1, 0, 0, 0, 1, 0, 0, 0, 2]
    assert result.positives.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    assert result.filled.tolist() == [0, 1, 5, 9]
    assert result.fractions() == pytest.approx([0.5, 0, 0, 1])
    assert result.means() == pytest.approx([0.025, 0.1, 0.5, 0.975])
    # |1 - 0.05| + |0 - 0.1| + |0 - 0.5| + |2 - 1.95|, over six predictions
    assert result.error() == pytest.approx(1.6 / 6)


def test_the_interval_of_a_fraction_is_wilsons() -> None:
    low, high = probability_calibration(
        np.full(10, 0.5), np.array([1] * 3 + [0] * 7), bins=1
    ).intervals()
    assert (low[0], high[0]) == (
        pytest.approx(0.10779, abs=1e-5),
        pytest.approx(0.60322, abs=1e-5),
    )  # Wilson (1927) for 3 of 10
    low, high = probability_calibration(np.full(10, 0.5), np.zeros(10), bins=1).intervals()
    assert (low[0], high[0]) == (0, pytest.approx(0.27753, abs=1e-5))


def test_nothing_predicted_has_no_error() -> None:
    assert np.isnan(probability_calibration(np.zeros(0), np.zeros(0)).error())


def test_similarities_to_every_candidate_but_the_artist_itself() -> None:
    rng = np.random.default_rng(0)
    table, queries = (
        rng.normal(size=(30, 4)),
        rng.normal(size=(BLOCK + 9, 4)),
    )  # more than one block
    own = np.where(np.arange(len(queries)) % 5, np.arange(len(queries)) % len(table), -1)
    related = [rng.choice(len(table), 3, replace=False) for _ in queries]
    related = [rows[rows != row] for rows, row in zip(related, own, strict=True)]
    result = similarity_calibration(queries, table, own, related, bins=8)
    similarity = unit_rows(queries) @ unit_rows(table).T
    pairs = [(q, a) for q in range(len(queries)) for a in range(len(table)) if a != own[q]]
    values = np.array([similarity[pair] for pair in pairs])
    truth = np.array([a in related[q] for q, a in pairs])
    assert result.counts.tolist() == np.histogram(values, np.linspace(-1, 1, 9))[0].tolist()
    assert (
        result.positives.tolist() == np.histogram(values[truth], np.linspace(-1, 1, 9))[0].tolist()
    )
    assert result.sums.sum() == pytest.approx(values.sum())
