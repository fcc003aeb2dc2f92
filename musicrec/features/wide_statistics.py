"""Wide statistics of a clip: the input ``statistics``, computed from stored features.

Adjacent rows are averaged down to about 84 (the semitones of the constant-Q transform). Then each
row gives four moments and five percentiles of its values, and the size of its changes from frame to
frame: 11 numbers. Mel, constant-Q, chroma and MFCC together give 2,123.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from musicrec.features.moments import moments

ROWS = 84
PERCENTILES = (5, 25, 50, 75, 95)


def wide_statistics(features: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the wide statistics (D,) float32 of a clip.

    Parameters
    ----------
    features
        By name (F, T), un-standardised; their order decides the order of the result.
    """
    return np.concatenate([_statistics(_fewer_rows(feature)) for feature in features.values()])


def _fewer_rows(feature: np.ndarray) -> np.ndarray:
    """Average groups of adjacent rows; a rest of the highest rows is left out."""
    group = max(1, len(feature) // ROWS)
    rows = len(feature) // group
    return feature[: rows * group].reshape(rows, group, -1).mean(axis=1)


def _statistics(rows: np.ndarray) -> np.ndarray:
    """Return 11 numbers per row, all means first, then all deviations and so on."""
    changes = np.diff(rows, axis=1) if rows.shape[1] > 1 else np.zeros_like(rows)
    values = (
        *moments(rows),
        *np.percentile(rows, PERCENTILES, axis=1),
        np.abs(changes).mean(axis=1),
        changes.std(axis=1),
    )
    return np.concatenate(values).astype(np.float32)
