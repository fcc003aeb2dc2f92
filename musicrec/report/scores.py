"""Results of a run as the page reads them: scores, intervals, and differences from a baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from musicrec.evaluation import thesis
from musicrec.evaluation.paired import PairedDifference, difference_by_artist
from musicrec.evaluation.thesis import Metric

Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Scored:
    """Results of a run.

    Attributes
    ----------
    results
        Scores by model and baseline.
    trained
        Validation value and number of epochs of each model, in the table's order; any other name in
        ``results`` is a baseline.
    leading
        The model that the page is about.
    metrics
        The first one ranks the baselines and gives the verdict.
    published
        The thesis table that corresponds to this run.
    """

    results: Results
    trained: Mapping[str, tuple[float | None, int | None]]
    leading: str
    metrics: tuple[Metric, ...]
    published: thesis.Table
    seed: int

    @property
    def baselines(self) -> list[str]:
        """Return the baselines from the worst to the best by the first metric."""
        metric = self.metrics[0]
        sign = 1 if metric.higher_is_better else -1
        values = {
            name: number(scores, metric.name)
            for name, scores in self.results.items()
            if name not in self.trained
        }
        return sorted(
            values, key=lambda name: -math.inf if values[name] is None else sign * values[name]
        )

    @property
    def scores(self) -> Mapping[str, Any]:
        """Return the leading model's scores."""
        return self.results[self.leading]

    def best_baseline(self) -> str | None:
        """Return the baseline that is best by the first metric, or None."""
        best = self.baselines[-1:]
        return (
            best[0]
            if best and number(self.results[best[0]], self.metrics[0].name) is not None
            else None
        )


def metrics_of(task: str, k: int) -> tuple[Metric, ...]:
    """Return a task's metrics, the main one first; k is the cut-off of its rankings."""
    if task == "single_genre":
        return thesis.F1_MICRO, Metric("f1_macro", "macro-F1", True)
    if task == "many_genres":
        return thesis.MEAN_SQUARED_ERROR, thesis.HAMMING, Metric("map_macro", "mAP", True)
    return (
        Metric(f"ndcg@{k}", f"NDCG@{k}", True),
        thesis.COSINE,
        Metric(f"recall@{k}", f"recall@{k}", True),
        Metric("mrr", "MRR", True),
    )


def number(scores: Mapping[str, Any], name: str) -> float | None:
    """Return a score, or None where it is missing, not a number or not finite."""
    value = scores.get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def bounds_of(scores: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    """Return the 95 % interval of a score, or None."""
    bounds = scores.get("intervals", {}).get(name) or scores.get(f"{name}_interval")
    return None if bounds is None or not all(map(math.isfinite, bounds)) else (bounds[0], bounds[1])


def digits_of(metric: Metric) -> int:
    """Return the number of decimals in tables: the thesis' six for small losses."""
    return 6 if metric.decimals > 4 else 3


def difference_from(scored: Scored, baseline: str) -> PairedDifference | None:
    """Return the leading model's difference from a baseline, paired over the test artists.

    None where either has no scores by artist.
    """
    ours, theirs = (
        scored.results[name].get("by_artist", {}) for name in (scored.leading, baseline)
    )
    return difference_by_artist(ours, theirs, scored.seed)
