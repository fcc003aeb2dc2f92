"""Settings of the artist embeddings; the defaults are the thesis (section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from musicrec.artists.neighbours import Metric


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of training: it ends after ``patience`` passes without a better figure, or after ``maximum_passes``."""

    learning_rate: float
    artists_per_step: int
    patience: int
    maximum_passes: int = 200

    def __post_init__(self) -> None:
        if self.learning_rate <= 0 or min(self.artists_per_step, self.patience, self.maximum_passes) < 1:
            raise ValueError(f"{self}: every value must be positive")


Objective = Literal["thesis", "contrastive"]
Start = Literal["uniform", "walks"]
Batches = Literal["random", "local"]
THESIS_STAGES = (
    Stage(learning_rate=1e-3, artists_per_step=32, patience=1),
    Stage(learning_rate=5e-4, artists_per_step=16, patience=1),
    Stage(learning_rate=1e-5, artists_per_step=1, patience=2),
)


@dataclass(frozen=True, kw_only=True)
class EmbeddingSettings:
    """How embeddings are trained.

    Attributes
    ----------
    full_batch
        All artists in each step, so that a pass is one step, and ``Stage.artists_per_step`` has no meaning (small catalogs).
    select_by
        The figure that decides when a stage ends and which pass' table is kept: the training ``loss`` (the thesis), or the ``jaccard``,
        which peaks and falls again while the loss still improves.
    lazy
        Adam moves only the rows that a step names (see ``RowAdam``); for catalogs where a walk over the table in each step is too slow.
    jaccard_every
        Passes between two computations of the Jaccard index; with ``select_by="jaccard"`` only those passes count and can be chosen.
    jaccard_artists
        Artists that the index is averaged over, drawn once; all if not given. Over 109,883 artists x 800 it takes 19 Tflop.
    objective
        ``thesis``: binary cross entropy of single pairs (``objective.py``); ``contrastive``: softmax over a step's candidates
        (``contrastive.py``), to which ``metric``, ``temperature``, ``negatives`` and ``rank_decay`` belong.
    metric
        ``cosine``, or ``euclidean``, under which vectors keep their magnitude.
    temperature
        What similarities are divided by.
    negatives
        Artists drawn uniformly in each step, beside those that the step has anyway.
    rank_decay
        A relation of rank r weighs r to the power of minus this; 0 makes all alike, as the Jaccard index does.
    start
        ``uniform`` (Keras' Embedding layer), or ``walks``: from where random walks over the relations lead (``walks.py``).
    batches
        Artists of a step: ``random`` ones, or ``local``, artists few relations apart, which are each other's hardest negatives.
    """

    dimensions: int = 800
    stages: tuple[Stage, ...] = THESIS_STAGES
    full_batch: bool = False
    select_by: Literal["loss", "jaccard"] = "loss"
    seed: int = 0
    lazy: bool = False
    jaccard_every: int = 1
    jaccard_artists: int | None = None
    objective: Objective = "thesis"
    metric: Metric = "cosine"
    temperature: float = 0.05
    negatives: int = 1024
    rank_decay: float = 0.0
    start: Start = "uniform"
    batches: Batches = "random"

    def __post_init__(self) -> None:
        sampled = 1 if self.jaccard_artists is None else self.jaccard_artists
        if min(self.dimensions, self.jaccard_every, sampled, len(self.stages)) < 1:
            raise ValueError(
                f"dimensions {self.dimensions}, jaccard_every {self.jaccard_every}, jaccard_artists {self.jaccard_artists}, "
                f"{len(self.stages)} stages: each must be at least 1"
            )
        if self.select_by not in ("loss", "jaccard"):
            raise ValueError(f"select_by '{self.select_by}': give 'loss' or 'jaccard'")
        for name, kinds in (("objective", Objective), ("metric", Metric), ("start", Start), ("batches", Batches)):
            if getattr(self, name) not in get_args(kinds):
                raise ValueError(f"{name} '{getattr(self, name)}': give one of {', '.join(get_args(kinds))}")
        if self.temperature <= 0 or self.negatives < 0 or self.rank_decay < 0:
            raise ValueError(
                f"temperature {self.temperature}, negatives {self.negatives}, rank_decay {self.rank_decay}: the first must be positive, "
                f"the others at least 0"
            )
        if self.objective == "thesis" and self.metric != "cosine":
            raise ValueError(f"metric '{self.metric}': the thesis' objective is one of cosines; set objective to 'contrastive'")
