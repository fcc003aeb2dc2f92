"""The configurations of the jobs, one frozen dataclass each: sections and options of the job.

The docstring of a field is its help text. Everything here imports quickly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import pydantic
from pydantic import Field

from musicrec.config.names import LATITUDES, LONGITUDES, YEARS
from musicrec.config.sections import (
    CatalogSettings,
    Count,
    EmbedSettings,
    EnsembleSettings,
    EvaluateSettings,
    ExtractSettings,
    LockSettings,
    NotNegative,
    PlaysForm,
    RankingSettings,
    RaySettings,
    RegistrySettings,
    RelationsSettings,
    ReportSettings,
    Seed,
    StackSettings,
    SubmodelSettings,
    TrainSettings,
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole run, from a catalog to a registered recommender."""

    store: str = "musicrec-store"
    """Location of all results: a folder or s3://bucket/prefix."""
    catalog: str = "demo"
    """Location of the catalog's tables, a folder or URI; 'demo' for the embedded demo catalog."""
    plays: str | None = None
    """Location of plays from which the relations are made; the catalog's table related if not
    given. They name artists by id or name, or tracks by id or path."""
    plays_form: PlaysForm = "table"
    """Layout of the plays; see --form of jobs/relate.py."""
    seed: Seed = 0
    """Seed of every random choice."""
    task: Literal["embedding", "single_genre", "many_genres"] = "embedding"
    """Target of the models: the artist's embedding, the track's top genre, or all of its genres."""
    ray: RaySettings = field(default_factory=RaySettings)
    catalog_rules: CatalogSettings = field(default_factory=CatalogSettings)
    extract: ExtractSettings = field(default_factory=ExtractSettings)
    embed: EmbedSettings = field(default_factory=EmbedSettings)
    models: dict[str, SubmodelSettings] = field(default_factory=dict)
    """The submodels by name."""
    train: TrainSettings = field(default_factory=TrainSettings)
    stacks: dict[str, StackSettings] = field(default_factory=dict)
    """Stacks over the submodels by name, in addition to the Recommendation ensemble."""
    ensemble: EnsembleSettings = field(default_factory=EnsembleSettings)
    ranking: RankingSettings = field(default_factory=RankingSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    report: ReportSettings = field(default_factory=ReportSettings)
    registry: RegistrySettings = field(default_factory=RegistrySettings)
    lock: LockSettings = field(default_factory=LockSettings)
    relations: RelationsSettings = field(default_factory=RelationsSettings)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """Training of some submodels."""

    submodels: str = ""
    """Submodels to train, separated by commas (mel.time,mel.freq); all if empty."""


@dataclass(frozen=True, kw_only=True)
class ReproduceConfig(Config):
    """Reproduction of a table of the thesis."""

    table: Literal[3, 4, 5, 6] | None = None
    """Table of the thesis to reproduce; implies its preset unless --preset or --config is given."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0, 1, 2)
    """Seeds, one run each; the table shows mean and standard deviation."""
    rows: str = ""
    """Rows of the table, separated by commas (mel.time,mel.time_freq), with the rows that they
    need; all if empty."""
    counts: bool = False
    """Compare every parameter count of the thesis with that of the model built here, then exit."""


@dataclass(frozen=True, kw_only=True)
class AblateConfig(Config):
    """Ablation study: the effect of each change of some settings."""

    study: str = "tune/ablations/demo.yaml"
    """YAML file with the base and the rows, which change this configuration."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0, 1, 2)
    """Seeds of every row, one run each."""
    rows: str = ""
    """Rows of the study, separated by commas; all if empty. The base is always included."""
    model: str = "recommendation"
    """Model whose predictions are scored: the ensemble, or a submodel, which is then the only one
    trained; rows that do not change it are left out."""


@dataclass(frozen=True, kw_only=True)
class HoldOutConfig(Config):
    """Evaluation with the relations of test artists seen by the embeddings, and held out."""

    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0, 1, 2)
    """Seeds, two runs each; the table shows mean and standard deviation."""


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(Config):
    """Scores of baselines, the thesis' rules and the configuration on one catalog."""

    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0, 1, 2)
    """Seeds of every rung, each with its own split of the artists."""
    study: str = "tune/ablations/demo.yaml"
    """YAML file of an ablation study whose base has the thesis' rules."""


@dataclass(frozen=True, kw_only=True)
class TuneConfig(Config):
    """Hyperparameter search for one model; the test split takes no part in it."""

    submodel: str = ""
    """Model to tune: the name of a submodel or a stack, or "recommendation" (the ensemble)."""
    space: str = ""
    """YAML file of the search space (tune/spaces/time.yaml)."""
    trials: Count = 12
    """Number of trials; the first one has the configuration's own values."""
    concurrent: Count = 1
    """Concurrent trials; each takes train.workers times train.cpus_per_worker CPUs."""
    trial_epochs: Count | None = None
    """Largest number of epochs per phase of a trial; the model's maximum_epochs if not given."""
    grace_epochs: Count = 3
    """Epochs before which a trial is not stopped."""
    reduction: Annotated[int, Field(ge=2)] = 3
    """ASHA's reduction factor: one in this many trials continues at grace_epochs and at its
    multiples by powers of the factor."""


@dataclass(frozen=True, kw_only=True)
class RecommendConfig:
    """Recommendations for one track (audio), the audio files of a folder, or a catalog."""

    store: str = "musicrec-store"
    """Location of the results of the run, a folder or URI."""
    audio: str | None = None
    """Audio file of one track, a path or URI."""
    lyrics: str | None = None
    """Lyrics of the track, as text."""
    artwork: str | None = None
    """Album art of the track, a path or URI of an image."""
    year: Annotated[float, Field(ge=YEARS[0], le=YEARS[1])] | None = None
    """Year of the track."""
    latitude: Annotated[float, Field(ge=LATITUDES[0], le=LATITUDES[1])] | None = None
    """Latitude of the artist's origin in degrees."""
    longitude: Annotated[float, Field(ge=LONGITUDES[0], le=LONGITUDES[1])] | None = None
    """Longitude of the artist's origin in degrees."""
    folder: str | None = None
    """Folder or URI whose audio files are the tracks."""
    catalog: str | None = None
    """Folder or URI of a catalog whose tracks are recommended for."""
    allowed_roots: tuple[str, ...] = ()
    """Locations outside the catalog's own folder that its URIs and links may name; the
    catalog_rules.allowed_roots of the run."""
    out: str = "recommendations"
    """Folder or URI for the results of many tracks: recommendations/ is a Parquet data set,
    errors.parquet lists what failed."""
    stored_features: bool = True
    """Use the features of the store's last extraction of the catalog instead of decoding again."""
    rows_per_block: Count = 32
    """Tracks per committed block."""
    neighbours: Count = 10
    """Recommended artists per track."""
    popularity: bool = True
    """Let artists' popularity take part in the ranking, if the model gave it a weight."""
    model: str = "models:/musicrec@champion"
    """MLflow URI of the registered model."""
    ray: RaySettings = field(default_factory=RaySettings)
    registry: RegistrySettings = field(default_factory=RegistrySettings)


@dataclass(frozen=True, kw_only=True)
class PlanConfig(Config):
    """Dry run: estimated time, storage and cost of a run over a catalog."""

    sample: Count = 32
    """Clips, and as many images, that are read and timed; drawn from the seed."""
    trainings: bool = True
    """Also time some training steps of each submodel."""
    price_cpu_hour: NotNegative | None = None
    """Price of one CPU per hour, in any currency; costs are shown for the prices that are given."""
    price_gpu_hour: NotNegative | None = None
    """Price of one GPU per hour."""
    price_gb_month: NotNegative | None = None
    """Price of 10^9 bytes of storage per month."""


@dataclass(frozen=True, kw_only=True)
class StatusConfig:
    """State of every stage of a store."""

    store: str = "musicrec-store"
    """Location of the results, a folder or URI."""


@dataclass(frozen=True, kw_only=True)
class ErrorsConfig:
    """Failed rows and their reasons."""

    store: str = "musicrec-store"
    """Location of the results, a folder or URI."""
    examples: Annotated[int, Field(ge=0)] = 3
    """Examples to show per reason."""
    out: str | None = None
    """Also write all errors as CSV to this path or URI."""


@dataclass(frozen=True, kw_only=True)
class RelateConfig:
    """Relations from plays, playlists or published similarities."""

    plays: str = ""
    """Location of the plays or similarities: a file, a folder or a URI."""
    form: PlaysForm = "table"
    """Layout of the plays: a CSV or Parquet table with a user and an item per row, Last.fm-1K, a
    ListenBrainz dump or Music4All as published; or published similarities: the Million Song
    Dataset's artist_similarity.db, JSON lines with an id and its connections, or OLGA's Parquet."""
    out: str = "related.csv"
    """File for the relations, a path or URI that ends in .csv or .parquet."""
    store: str = "musicrec-store"
    """Location of the intermediate results and of the errors table, a folder or URI."""
    relations: RelationsSettings = field(default_factory=RelationsSettings)
    lock: LockSettings = field(default_factory=LockSettings)
    ray: RaySettings = field(default_factory=RaySettings)


# Subclasses inherit the setting.
for _section in (Config, RecommendConfig, StatusConfig, ErrorsConfig, RelateConfig):
    _section.__pydantic_config__ = pydantic.ConfigDict(extra="forbid")
