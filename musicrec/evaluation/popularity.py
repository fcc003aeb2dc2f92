"""Popularity of artists by how many others name them as related: order, head and tail."""

from __future__ import annotations

import numpy as np

# The short head of Cremonesi et al. 2010: the most popular items with a third of all interactions.
HEAD_FRACTION = 1 / 3


def popularity_order(named: np.ndarray) -> np.ndarray:
    """Return (A,) all artists, those that most others name as related first; ties by position.

    Parameters
    ----------
    named
        (A,) how many artists name each one. Count only relations that may be known: those of
        held-out artists are what is predicted.
    """
    return np.argsort(-np.asarray(named), kind="stable")


def short_head(named: np.ndarray, fraction: float = HEAD_FRACTION) -> np.ndarray:
    """Return (A,) True for the fewest, most popular artists that take ``fraction`` of relations.

    The others are the long tail.

    Parameters
    ----------
    named
        (A,) as in `popularity_order`.
    """
    named, order = np.asarray(named), popularity_order(named)
    taken_before = np.cumsum(named[order]) - named[order]
    head = np.zeros(len(named), dtype=bool)
    head[order[taken_before < fraction * named.sum()]] = True
    return head
