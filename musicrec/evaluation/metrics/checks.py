"""What the metrics ask of their arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def same_shape(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays; ValueError unless they have one shape and a row."""
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape or not truth.size:
        raise ValueError(
            f"truth {truth.shape} and prediction {predicted.shape}: both must have one shape and at least one row"
        )
    return truth, predicted


def indicators(values: np.ndarray, name: str) -> np.ndarray:
    """As booleans; ValueError where one is neither 0 nor 1."""
    if values.dtype == bool:
        return values
    chosen = values == 1
    if not (chosen | (values == 0)).all():
        raise ValueError(
            f"{name} holds {values[~chosen & (values != 0)].flat[0]}: indicators are 0 or 1"
        )
    return chosen


def mean_of(values: Sequence[float] | np.ndarray) -> float:
    """The mean; NaN of nothing."""
    return float(np.mean(values)) if len(values) else float("nan")


def mean_of_defined(values: np.ndarray) -> float:
    """The mean of the values that are not NaN; NaN if there is none."""
    return mean_of(values[~np.isnan(values)])
