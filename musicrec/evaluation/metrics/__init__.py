"""Metrics as pure NumPy functions.

Conventions
-----------
- The truth comes first, the prediction second. Rows are tracks (or queries), columns are classes,
  outputs or dimensions.
- A result is a float. It is NaN where the quantity is not defined (a ranking metric of a query
  with no relevant item, the recall of a class without a track), never a made-up 0 or 1; means over
  queries or classes leave NaN out.
- Similarity is cosine; a zero vector has cosine 0 to everything.
- Rankings list items (any hashable, or integers) best first, without repeats; rank 1 is the first
  place. Relevance is binary.
- Of candidates with equal similarity, the one with the lower index comes first. Equal scores of
  tracks for a class count as one threshold.
- Where scikit-learn has the metric, the two agree to 1e-9 (tests).
"""

from __future__ import annotations

from .bootstrap import bootstrap_interval, bootstrap_metric
from .class_ranking import (
    absent_classes,
    average_precision,
    mean_average_precision,
    mean_roc_auc,
    roc_auc,
)
from .hubs import coverage, hubness, k_occurrences
from .labels import (
    ClassScores,
    class_scores,
    confusion_matrix,
    f1_macro,
    f1_micro,
    f1_weighted,
    hamming_loss,
    log_loss,
    scores_of_confusion,
)
from .ranking import (
    discounts,
    jaccard_neighbours,
    mean_jaccard,
    mean_reciprocal_rank,
    ndcg_at,
    precision_at,
    recall_at,
    reciprocal_rank,
)
from .vectors import cosines, mean_cosine, mean_squared_error, unit_rows

__all__ = [
    "ClassScores",
    "absent_classes",
    "average_precision",
    "bootstrap_interval",
    "bootstrap_metric",
    "class_scores",
    "confusion_matrix",
    "cosines",
    "coverage",
    "discounts",
    "f1_macro",
    "f1_micro",
    "f1_weighted",
    "hamming_loss",
    "hubness",
    "jaccard_neighbours",
    "k_occurrences",
    "log_loss",
    "mean_average_precision",
    "mean_cosine",
    "mean_jaccard",
    "mean_reciprocal_rank",
    "mean_roc_auc",
    "mean_squared_error",
    "ndcg_at",
    "precision_at",
    "recall_at",
    "reciprocal_rank",
    "roc_auc",
    "scores_of_confusion",
    "unit_rows",
]
