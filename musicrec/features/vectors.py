"""Compute the vectors of the registry of inputs from features, for training and serving alike."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from musicrec.audio import FEATURE_SHAPES
from musicrec.config.inputs import PRETRAINED, VECTORS


def available_features(name: str | None, extracted: Sequence[str]) -> tuple[str, ...]:
    """Return the extracted features that a vector is computed from, in the vector's order.

    There are none if ``name`` is no vector.
    """
    of_vector = VECTORS[name].features if name in VECTORS else ()
    return tuple(feature for feature in of_vector if feature in extracted)


def compute_vector(name: str, features: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return a vector of the registry as a feature of one frame, (D, 1) float32.

    Parameters
    ----------
    features
        By name (frequency, time), un-standardised; in the vector's order.
    """
    vector = _function(VECTORS[name].function)(features)
    return np.asarray(vector, np.float32).reshape(-1, 1)


@functools.cache
def vector_length(name: str, features: tuple[str, ...]) -> int:
    """Return the length D of a vector that is computed from these features, or is pretrained."""
    if name in PRETRAINED:
        return PRETRAINED[name].length
    zeros = {feature: np.zeros(FEATURE_SHAPES[feature], np.float32) for feature in features}
    return len(compute_vector(name, zeros))


@functools.cache
def _function(path: str) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
