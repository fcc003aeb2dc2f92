"""The results of a run as the page reads them: what is there, with its interval, and what is compared with what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from musicrec.evaluation import thesis
from musicrec.evaluation.metrics import bootstrap_interval
from musicrec.evaluation.thesis import Metric

Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Scored:
    """The results of a run.

    Attributes
    ----------
    results
        Scores by model and baseline.
    trained
        Validation figure and number of epochs of each model, in the order of the table; what is not among them is a baseline.
    leading
        The model that the page is about.
    metrics
        The first decides.
    published
        The table of the thesis that this run has the counterpart of.
    """

    results: Results
    trained: Mapping[str, tuple[float | None, int | None]]
    leading: str
    metrics: tuple[Metric, ...]
    published: thesis.Table
    seed: int

    @property
    def baselines(self) -> list[str]:
        """From the worst to the best by the deciding metric."""
        metric = self.metrics[0]
        sign = 1 if metric.higher_is_better else -1
        figures = {
            name: number(scores, metric.name)
            for name, scores in self.results.items()
            if name not in self.trained
        }
        return sorted(
            figures, key=lambda name: -math.inf if figures[name] is None else sign * figures[name]
        )

    @property
    def scores(self) -> Mapping[str, Any]:
        """Those of the leading model."""
        return self.results[self.leading]

    def best_baseline(self) -> str | None:
        """The baseline with the best figure of the deciding metric; None where there is none."""
        best = self.baselines[-1:]
        return (
            best[0]
            if best and number(self.results[best[0]], self.metrics[0].name) is not None
            else None
        )


def metrics_of(task: str, k: int) -> tuple[Metric, ...]:
    """The figures of a task, the deciding one first; k is the cut-off of its rankings."""
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
    """A score; None where it is not there, no number or not defined."""
    value = scores.get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def bounds_of(scores: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    """The 95 % interval of a score; None where there is none."""
    found = scores.get("intervals", {}).get(name) or scores.get(f"{name}_interval")
    return None if found is None or not all(map(math.isfinite, found)) else (found[0], found[1])


def digits_of(metric: Metric) -> int:
    """How many decimals the tables show: of small losses the thesis' six."""
    return 6 if metric.decimals > 4 else 3


def paired_difference(
    scored: Scored, baseline: str
) -> tuple[np.ndarray, tuple[float, float]] | None:
    """The leading model's score of each artist less the baseline's, and the 95 % interval of the mean; None where either has none."""
    ours, theirs = (
        scored.results[name].get("by_artist", {}) for name in (scored.leading, baseline)
    )
    artists = [
        artist
        for artist in ours
        if artist in theirs and math.isfinite(ours[artist]) and math.isfinite(theirs[artist])
    ]
    if not artists:
        return None
    differences = np.array([ours[artist] - theirs[artist] for artist in artists])
    return differences, bootstrap_interval(differences, scored.seed)
