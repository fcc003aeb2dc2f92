"""Settings of the artist embeddings; the defaults are the thesis (section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
    """

    dimensions: int = 800
    stages: tuple[Stage, ...] = THESIS_STAGES
    full_batch: bool = False
    select_by: Literal["loss", "jaccard"] = "loss"
    seed: int = 0
    lazy: bool = False
    jaccard_every: int = 1
    jaccard_artists: int | None = None

    def __post_init__(self) -> None:
        sampled = 1 if self.jaccard_artists is None else self.jaccard_artists
        if min(self.dimensions, self.jaccard_every, sampled, len(self.stages)) < 1:
            raise ValueError(
                f"dimensions {self.dimensions}, jaccard_every {self.jaccard_every}, jaccard_artists {self.jaccard_artists}, "
                f"{len(self.stages)} stages: each must be at least 1"
            )
        if self.select_by not in ("loss", "jaccard"):
            raise ValueError(f"select_by '{self.select_by}': give 'loss' or 'jaccard'")
