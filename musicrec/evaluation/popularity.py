"""Popularity of artists: how many others name each one as related; its order, and its head and tail."""

from __future__ import annotations

import numpy as np

HEAD_SHARE = (
    1 / 3
)  # Cremonesi et al. 2010: the short head is the most popular items that take a third of all interactions


def popularity_order(named: np.ndarray) -> np.ndarray:
    """(A,) all artists, those first that most others name as related; equal ones by position.

    Parameters
    ----------
    named
        (A,) how many artists name each one. Count only relations that may be known: those of held-out artists are what is asked for.
    """
    return np.argsort(-np.asarray(named), kind="stable")


def short_head(named: np.ndarray, share: float = HEAD_SHARE) -> np.ndarray:
    """(A,) True for the fewest, most popular artists that take ``share`` of all relations; the others are the long tail.

    Parameters
    ----------
    named
        (A,) as of `popularity_order`.
    """
    named, order = np.asarray(named), popularity_order(named)
    taken_before = np.cumsum(named[order]) - named[order]
    head = np.zeros(len(named), dtype=bool)
    head[order[taken_before < share * named.sum()]] = True
    return head
