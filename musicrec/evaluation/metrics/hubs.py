"""How evenly retrieval covers the candidates: a few are neighbours of nearly every query."""

from __future__ import annotations

import numpy as np
from scipy.stats import skew


def k_occurrences(neighbours: np.ndarray, candidates: int) -> np.ndarray:
    """Count for each candidate (candidates,) the queries that have it among their nearest.

    This is N_k of Radovanović et al. 2010.

    Parameters
    ----------
    neighbours
        (Q, k) the nearest candidates of each query, numbered from 0, each at most once per row. k
        may be 0.
    candidates
        Their number; candidates that are not among ``neighbours`` count 0.

    Raises
    ------
    ValueError
        ``neighbours`` is not a matrix, or a number is outside [0, ``candidates``).
    """
    neighbours = np.asarray(neighbours)
    if neighbours.ndim != 2:
        raise ValueError(f"neighbours {neighbours.shape}: give a matrix (queries, k)")
    if neighbours.size and not 0 <= neighbours.min() <= neighbours.max() < candidates:
        raise ValueError(
            f"neighbours holds {neighbours.min()} to {neighbours.max()}: "
            f"{candidates} candidates are 0 to {candidates - 1}"
        )
    return np.bincount(neighbours.ravel().astype(np.int64), minlength=candidates)


def hubness(neighbours: np.ndarray, candidates: int) -> float:
    """Return the skewness of the k-occurrences (Radovanović et al. 2010, Hubs in Space).

    It is 0 for even occurrences and above 1 where a few candidates are hubs. With few queries it is
    above 0 also without hubs: under Q uniformly random rankings the occurrences are binomial with
    p = k / candidates, whose skewness is ``(1 - 2 p) / sqrt(Q p (1 - p))``.

    Parameters
    ----------
    neighbours, candidates
        As in `k_occurrences`.

    Returns
    -------
    float
        The population's skewness; NaN where every candidate occurs equally often.
    """
    occurrences = k_occurrences(neighbours, candidates)
    if occurrences.min() == occurrences.max():
        return float("nan")
    return float(skew(occurrences))


def coverage(neighbours: np.ndarray, candidates: int) -> float:
    """Return the fraction of candidates that are among the nearest of any query.

    Q queries reach at most ``Q k / candidates``.

    Parameters
    ----------
    neighbours, candidates
        As in `k_occurrences`.
    """
    return float(np.mean(k_occurrences(neighbours, candidates) > 0))
