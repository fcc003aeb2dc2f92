"""Validate the arrays given to the metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def same_shape(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both as arrays; raise ValueError unless they have one shape and a row."""
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape or not truth.size:
        raise ValueError(
            f"truth {truth.shape} and prediction {predicted.shape}: "
            "both must have one shape and at least one row"
        )
    return truth, predicted


def indicators(values: np.ndarray, name: str) -> np.ndarray:
    """Return the values as booleans; raise ValueError where one is neither 0 nor 1."""
    if values.dtype == bool:
        return values
    ones = values == 1
    if not (ones | (values == 0)).all():
        raise ValueError(
            f"{name} holds {values[~ones & (values != 0)].flat[0]}: indicators are 0 or 1"
        )
    return ones


def mean_of(values: Sequence[float] | np.ndarray) -> float:
    """Return the mean; NaN of an empty sequence."""
    return float(np.mean(values)) if len(values) else float("nan")


def mean_of_defined(values: np.ndarray) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    return mean_of(values[~np.isnan(values)])
