"""The configurations of the jobs, one frozen dataclass each: the sections of ``settings``, and what is a job's own. Quick to import."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import pydantic
from pydantic import Field

from musicrec.config.sections import (
    CatalogSettings,
    Count,
    EmbedSettings,
    EnsembleSettings,
    EvaluateSettings,
    ExtractSettings,
    LockSettings,
    NotNegative,
    RaySettings,
    RegistrySettings,
    ReportSettings,
    StackSettings,
    SubmodelSettings,
    TrainSettings,
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole run, from a catalog to a registered recommender."""

    store: str = "musicrec-store"
    """Where everything is written: a folder or s3://bucket/prefix."""
    catalog: str = "demo"
    """A folder or URI with the three tables, or 'demo'."""
    seed: int = 0
    task: Literal["embedding", "single_genre", "many_genres"] = "embedding"
    """What the models predict: the artist's embedding, the track's top genre, or all of its genres."""
    ray: RaySettings = field(default_factory=RaySettings)
    catalog_rules: CatalogSettings = field(default_factory=CatalogSettings)
    extract: ExtractSettings = field(default_factory=ExtractSettings)
    embed: EmbedSettings = field(default_factory=EmbedSettings)
    models: dict[str, SubmodelSettings] = field(default_factory=dict)
    """The submodels by name."""
    train: TrainSettings = field(default_factory=TrainSettings)
    stacks: dict[str, StackSettings] = field(default_factory=dict)
    """Stacks over the submodels by name, beside the Recommendation ensemble of the task "embedding"."""
    ensemble: EnsembleSettings = field(default_factory=EnsembleSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    report: ReportSettings = field(default_factory=ReportSettings)
    registry: RegistrySettings = field(default_factory=RegistrySettings)
    lock: LockSettings = field(default_factory=LockSettings)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """A run of which only some submodels are trained."""

    submodels: str = ""
    """Names separated by commas (mel.time,mel.freq); all of the configuration's models if empty."""


@dataclass(frozen=True, kw_only=True)
class ReproduceConfig(Config):
    """A table of the thesis, rerun."""

    table: Literal[3, 4, 5, 6] | None = None
    """Of the thesis; its preset is taken where neither --preset nor --config is given."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, 2)
    """A run each; the table shows mean and deviation."""
    rows: str = ""
    """Names of the table's rows separated by commas (mel.time,mel.time_freq), with what they stand on; all of them if empty."""
    counts: bool = False
    """Print every parameter count of the thesis beside that of the model built here, and end."""


@dataclass(frozen=True, kw_only=True)
class AblateConfig(Config):
    """What each change of some settings is worth."""

    study: str = "tune/ablations/demo.yaml"
    """The YAML file of the base and its rows, which change this configuration."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, 2)
    """Of every row."""
    rows: str = ""
    """Names of the study's rows separated by commas; all of them if empty. The base belongs to any."""
    model: str = "recommendation"
    """Whose predictions are scored: the ensemble, or a name among ``models``, which is then trained alone; rows that do not change it are
    left out."""


@dataclass(frozen=True, kw_only=True)
class HoldOutConfig(Config):
    """Evaluation with the relations of test artists known to the embeddings, and held out from them."""

    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, 2)
    """Two runs each; the table shows mean and deviation."""


@dataclass(frozen=True, kw_only=True)
class TuneConfig(Config):
    """A search for better settings of one training; the test split takes no part in it."""

    submodel: str = ""
    """What is searched: a name among ``models`` or ``stacks``, or "recommendation", the ensemble."""
    space: str = ""
    """The YAML file of the values to try (tune/spaces/time.yaml)."""
    trials: Count = 12
    """How many trainings, the first of which has the configuration's own values."""
    concurrent: Count = 1
    """Trials at the same time; each takes ``train.workers`` times ``train.cpus_per_worker``."""
    trial_epochs: Count | None = None
    """Epochs of each stage of a trial, at most; the model's own ``maximum_epochs`` if not given."""
    grace_epochs: Count = 3
    """A trial is not stopped before so many epochs."""
    reduction: Annotated[int, Field(ge=2)] = 3
    """At grace_epochs and each of its multiples by powers of this number, one in so many trials goes on (ASHA's reduction factor)."""


@dataclass(frozen=True, kw_only=True)
class RecommendConfig:
    """What to recommend for: one track (audio), the audio files of a folder, or a catalog."""

    store: str = "musicrec-store"
    audio: str | None = None
    """An audio file, path or URI."""
    lyrics: str | None = None
    artwork: str | None = None
    """A picture, path or URI."""
    year: float | None = None
    latitude: Annotated[float, Field(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Field(ge=-180, le=180)] | None = None
    folder: str | None = None
    catalog: str | None = None
    out: str = "recommendations"
    """A folder or URI for the answers of a folder or a catalog: recommendations/ is a Parquet data set, errors.parquet says what failed."""
    stored_features: bool = True
    """Use what the store's last extraction of the catalog holds instead of decoding its audio again."""
    rows_per_block: Count = 32
    """Tracks that are answered and committed together."""
    neighbours: Count = 10
    """Artists for each track."""
    model: str = "models:/musicrec@champion"
    ray: RaySettings = field(default_factory=RaySettings)
    registry: RegistrySettings = field(default_factory=RegistrySettings)


@dataclass(frozen=True, kw_only=True)
class PlanConfig(Config):
    """A dry run: what a catalog would cost."""

    sample: Count = 32
    """Clips, and as many pictures, that are read and timed; drawn by the seed."""
    trainings: bool = True
    """Time some steps of each submodel's training as well."""
    price_cpu_hour: NotNegative | None = None
    """Of one CPU for an hour, in any currency; costs are said for the prices that are given."""
    price_gpu_hour: NotNegative | None = None
    price_gb_month: NotNegative | None = None
    """Of 10^9 bytes in the store for a month."""


@dataclass(frozen=True, kw_only=True)
class StatusConfig:
    """Where every stage of a store stands."""

    store: str = "musicrec-store"


@dataclass(frozen=True, kw_only=True)
class ErrorsConfig:
    """What failed, and why."""

    store: str = "musicrec-store"
    examples: Annotated[int, Field(ge=0)] = 3
    """Of each reason, to show."""
    out: str | None = None
    """Write every error there as CSV: a path or URI."""


# What derives from these inherits it.
for _section in (Config, RecommendConfig, StatusConfig, ErrorsConfig):
    _section.__pydantic_config__ = pydantic.ConfigDict(extra="forbid")
