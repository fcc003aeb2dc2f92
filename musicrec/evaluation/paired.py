"""Compare two systems by their scores of the same artists: mean difference and interval.

Every paired comparison uses this: promotion, the report, the last screen, ablations and tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from musicrec.evaluation.metrics import bootstrap_interval


@dataclass(frozen=True)
class PairedDifference:
    """The mean difference between two systems, and its 95 % interval over the artists.

    Attributes
    ----------
    artists
        Artists that both systems have a score of.
    won, lost
        Of the values, those in which the first system is above and below the second.
    """

    mean: float
    low: float
    high: float
    artists: int
    won: int = 0
    lost: int = 0

    @property
    def better(self) -> bool:
        """Whether the first system is proven better: the interval is above 0."""
        return self.low > 0

    @property
    def worse(self) -> bool:
        """Whether the first system is proven worse: the interval is below 0."""
        return self.high < 0

    @property
    def verdict(self) -> str:
        """Return "better", "worse" or "not proven better"."""
        return "better" if self.better else "worse" if self.worse else "not proven better"

    def interval(self, digits: int = 4) -> str:
        """Return the interval as text."""
        return (
            f"95 % interval of the difference {self.low:+.{digits}f} to {self.high:+.{digits}f} "
            f"over {self.artists} artists"
        )

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def paired_difference(
    pairs: Iterable[tuple[str, float, float]], seed: int = 0
) -> PairedDifference | None:
    """Return the difference of two systems over (artist, first score, second score).

    An artist may occur more than once, with several tracks or seeds: the bootstrap resamples
    artists, each with all of its pairs. A pair with a score that is not finite is left out. None
    if no pair is left.
    """
    finite = [pair for pair in pairs if math.isfinite(pair[1]) and math.isfinite(pair[2])]
    if not finite:
        return None
    artists, first, second = (np.array(column) for column in zip(*finite, strict=True))
    low, high = bootstrap_interval(first, seed, groups=artists, paired_with=second)
    return PairedDifference(
        float(np.mean(first - second)),
        low,
        high,
        artists=len(set(artists.tolist())),
        won=int((first > second).sum()),
        lost=int((first < second).sum()),
    )


def difference_by_artist(
    ours: Mapping[str, float], theirs: Mapping[str, float], seed: int = 0
) -> PairedDifference | None:
    """Return the difference over the artists of both mappings; None if they share none."""
    return paired_difference(
        ((artist, ours[artist], theirs[artist]) for artist in ours if artist in theirs), seed
    )
