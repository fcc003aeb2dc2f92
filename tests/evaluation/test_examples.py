from __future__ import annotations

import math

import numpy as np
import pytest

from musicrec.evaluation.examples import recommendations, spread


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, ["a"]), (2, ["a", "e"]), (3, ["a", "c", "e"]), (9, ["a", "b", "c", "d", "e"]), (0, [])],
)
def test_examples_go_from_the_best_to_the_worst(count: int, expected: list[str]) -> None:
    assert (
        spread(
            {"c": 0.5, "a": 0.9, "e": 0.1, "b": 0.7, "d": 0.3, "without relations": math.nan}, count
        )
        == expected
    )


def test_an_artist_is_not_recommended_to_itself() -> None:
    table = np.array([[1, 0], [0.9, 0.1], [0, 1], [-1, 0]], np.float32)
    made = recommendations(
        ["p", "r"],
        np.array([[2.0, 0.0], [0.0, 3.0]]),
        {"p": 0.2, "r": 0.8},
        table,
        ["p", "q", "r", "s"],
        2,
        10,
    )
    assert [(one.artist_id, one.score) for one in made] == [("r", 0.8), ("p", 0.2)]
    assert made[1].answers == ["q", "r", "s"]
    assert made[1].similarities == pytest.approx([0.9 / math.hypot(0.9, 0.1), 0, -1])


def test_an_artist_outside_the_table_gets_recommendations_too() -> None:
    table = np.array([[0, 1], [1, 0]], np.float32)
    (one,) = recommendations(
        ["held out"], np.array([[1.0, 0.2]]), {"held out": 0.4}, table, ["a", "b"], 1, 1
    )
    assert one.answers == ["b"]
