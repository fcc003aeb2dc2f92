"""How retrieval spreads over what can be found: some candidates are neighbours of nearly everything, others of nothing."""

from __future__ import annotations

import numpy as np


def k_occurrences(neighbours: np.ndarray, candidates: int) -> np.ndarray:
    """(candidates,) how many queries have each candidate among their nearest: N_k of Radovanović et al. 2010.

    Parameters
    ----------
    neighbours
        (Q, k) the nearest candidates of each query, numbered from 0; a row holds none twice. k may be 0.
    candidates
        How many there are; one that is nowhere among ``neighbours`` counts as 0.

    Raises
    ------
    ValueError
        ``neighbours`` is no matrix, or holds a number below 0 or one of ``candidates`` and more.
    """
    neighbours = np.asarray(neighbours)
    if neighbours.ndim != 2:
        raise ValueError(f"neighbours {neighbours.shape}: give a matrix (queries, k)")
    if neighbours.size and not 0 <= neighbours.min() <= neighbours.max() < candidates:
        raise ValueError(
            f"neighbours holds {neighbours.min()} to {neighbours.max()}: {candidates} candidates are 0 to {candidates - 1}"
        )
    return np.bincount(neighbours.ravel().astype(np.int64), minlength=candidates)


def hubness(neighbours: np.ndarray, candidates: int) -> float:
    """Skewness of the k-occurrences (Radovanović et al. 2010, Hubs in Space): 0 where they lie evenly, above 1 where a few are hubs.

    Without hubs it is not 0 either where queries are few: of Q uniformly random rankings the occurrences are binomial with p = k /
    candidates, whose skewness is ``(1 - 2 p) / sqrt(Q p (1 - p))``.

    Parameters
    ----------
    neighbours, candidates
        As of `k_occurrences`.

    Returns
    -------
    float
        The population's; NaN where every candidate occurs equally often.
    """
    occurrences = k_occurrences(neighbours, candidates)
    if occurrences.min() == occurrences.max():
        return float("nan")
    centred = occurrences - occurrences.mean()
    return float(np.mean(centred**3) / np.mean(centred**2) ** 1.5)


def coverage(neighbours: np.ndarray, candidates: int) -> float:
    """Share of the candidates that are among the nearest of any query; Q queries reach at most ``Q k / candidates``.

    Parameters
    ----------
    neighbours, candidates
        As of `k_occurrences`.
    """
    return float(np.mean(k_occurrences(neighbours, candidates) > 0))
