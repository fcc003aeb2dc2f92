"""Settings of the artist embeddings; the defaults are the thesis (Whitell 2019)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from musicrec.artists.neighbours import Metric
from musicrec.config.sections import EmbedSettings


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One phase of training.

    It ends after ``patience`` passes without a better score, or after ``maximum_passes``. With
    ``passes`` it ends after that number; the learning rate still decays by the maximum.
    """

    learning_rate: float
    artists_per_step: int
    patience: int
    maximum_passes: int = 200
    passes: int | None = None

    def __post_init__(self) -> None:
        if (
            self.learning_rate <= 0
            or min(self.artists_per_step, self.patience, self.maximum_passes) < 1
        ):
            raise ValueError(f"{self}: every value must be positive")
        if self.passes is not None and not 1 <= self.passes <= self.maximum_passes:
            raise ValueError(f"{self}: give passes from 1 to maximum_passes")


THESIS_STAGES = (
    Stage(learning_rate=1e-3, artists_per_step=32, patience=1),
    Stage(learning_rate=5e-4, artists_per_step=16, patience=1),
    Stage(learning_rate=1e-5, artists_per_step=1, patience=2),
)
CHOICES = {
    "select_by": ("loss", "jaccard", "held_out", "last"),
    "objective": ("thesis", "contrastive", "pagerank"),
    "metric": ("cosine", "euclidean"),
    "initial": ("random", "spread"),
    "steps": ("random", "near"),
    "decay": ("none", "linear"),
}


@dataclass(frozen=True, kw_only=True)
class EmbeddingSettings:
    """How embeddings are trained.

    Attributes
    ----------
    full_batch
        All artists in each step, so that a pass is one step, and ``Stage.artists_per_step`` has no
        meaning (small catalogs).
    select_by
        The figure that decides when a stage ends and which pass' table is kept: the training
        ``loss`` (the thesis), the ``jaccard``, which peaks and falls again while the loss still
        improves, or the NDCG of ``held_out`` relations; ``last`` keeps the last table.
    lazy
        Adam moves only the rows that a step names (see ``RowAdam``); for catalogs where a walk over
        the table in each step is too slow.
    jaccard_every
        Passes between two computations of the Jaccard index or of the held-out score; where these
        select, only such passes count and can be chosen.
    objective
        "thesis", "contrastive" (see ``musicrec.artists.contrastive``), or "pagerank" (see
        ``musicrec.artists.soft_positives``). The fields from here to ``steps`` are for the latter
        two.
    temperature, uniform_negatives, rank_exponent
        Divides similarities; artists drawn as candidates in each step; a relation of rank r weighs
        ``r ** -rank_exponent`` (contrastive).
    restart, neighbourhood
        Probability that a walk ends at each step, and artists of a neighbourhood (pagerank).
    metric
        The similarity that is learned and judged by. With "euclidean" lengths mean something and
        vectors keep theirs.
    initial
        "random", or "spread": random and averaged along the relations (see
        ``musicrec.artists.init``).
    steps
        "random", or "near": the artists of a step lie near each other (see
        ``musicrec.artists.batching``).
    decay
        Of the learning rate within a stage: "none", or "linear" towards 0 at
        ``Stage.maximum_passes``.
    jaccard_artists
        Artists that the index is averaged over, drawn once; all if not given. Over 109,883 artists
        x 800 it takes 19 Tflop.
    """

    dimensions: int = 800
    stages: tuple[Stage, ...] = THESIS_STAGES
    full_batch: bool = False
    select_by: Literal["loss", "jaccard", "held_out", "last"] = "loss"
    seed: int = 0
    lazy: bool = False
    jaccard_every: int = 1
    jaccard_artists: int | None = None
    objective: Literal["thesis", "contrastive", "pagerank"] = "thesis"
    temperature: float = 0.05
    uniform_negatives: int = 1024
    rank_exponent: float = 0.0
    restart: float = 0.3
    neighbourhood: int = 400
    metric: Metric = "cosine"
    initial: Literal["random", "spread"] = "random"
    steps: Literal["random", "near"] = "random"
    decay: Literal["none", "linear"] = "none"

    @classmethod
    def from_section(cls, section: EmbedSettings, seed: int) -> EmbeddingSettings:
        """Return the settings of a configuration's ``embed`` section.

        The three lists of the section become stages; every other field has the same name in both.
        """
        stages = tuple(
            Stage(
                learning_rate=rate,
                artists_per_step=artists,
                patience=patience,
                maximum_passes=section.maximum_passes,
            )
            for rate, artists, patience in zip(
                section.learning_rates, section.artists_per_step, section.patience, strict=True
            )
        )
        names = {field.name for field in fields(cls)} & {field.name for field in fields(section)}
        shared = {name: getattr(section, name) for name in names}
        return cls(stages=stages, seed=seed, **shared)

    def __post_init__(self) -> None:
        sampled = 1 if self.jaccard_artists is None else self.jaccard_artists
        if (
            min(
                self.dimensions,
                self.jaccard_every,
                sampled,
                len(self.stages),
                self.uniform_negatives,
            )
            < 1
        ):
            raise ValueError(
                f"dimensions {self.dimensions}, jaccard_every {self.jaccard_every}, "
                f"jaccard_artists {self.jaccard_artists}, "
                f"{len(self.stages)} stages, uniform_negatives {self.uniform_negatives}: each "
                "must be at least 1"
            )
        if self.temperature <= 0 or self.rank_exponent < 0:
            raise ValueError(
                f"temperature {self.temperature} must be positive, rank_exponent "
                f"{self.rank_exponent} not negative"
            )
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} '{getattr(self, name)}': give "
                    + " or ".join(f"'{choice}'" for choice in choices)
                )
        if self.metric == "euclidean" and self.objective != "contrastive":
            name = "the thesis'" if self.objective == "thesis" else "the pagerank"
            raise ValueError(
                f"metric 'euclidean', and {name} objective is one of cosines: give "
                "objective 'contrastive'"
            )
        if not 0 < self.restart < 1 or self.neighbourhood < 1:
            raise ValueError(
                f"restart {self.restart}, neighbourhood {self.neighbourhood}: give a restart "
                "between 0 and 1 and a neighbourhood of at least 1"
            )
