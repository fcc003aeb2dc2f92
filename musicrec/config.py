"""The configuration of a run: YAML file -> frozen dataclasses -> command-line overrides.

One ``Config`` serves every stage, one section a stage: a stage's key is a hash of what decides its output, its own section and those before
it, so the jobs of one run must read the same file. Unknown keys and values out of range are errors that name the key and the fix; nothing
heavy is imported here, so that they are found in the first second.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import importlib.resources
import os
import sys
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

import pydantic
import tyro
import yaml
from pydantic import Field

FEATURES = ("stft", "stft_halved", "mel", "cqt", "chroma", "mfcc")
BRANCHES = ("chroma", "mfcc", "cqt", "mel", "lyrics", "albums", "location", "year")
EXIT_CONFIG = 2

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration that cannot be run: the key, its value and the fix."""


@dataclass(frozen=True, kw_only=True)
class RaySettings:
    """The cluster: joined where RAY_ADDRESS or ``address`` names one, else started on this machine."""

    address: str | None = None
    num_cpus: Count | None = None
    """CPUs of a cluster started here; the machine's own number if not given."""
    worker_logs: bool = False
    """Show what the workers print; Ray keeps it in its log folder in any case."""


@dataclass(frozen=True, kw_only=True)
class CatalogSettings:
    allowed_roots: tuple[str, ...] = ()
    """Locations outside the catalog's own folder that its URIs may name."""
    demo_clips: Count = 208
    """How many clips the embedded demo catalog holds."""


@dataclass(frozen=True, kw_only=True)
class ExtractSettings:
    features: tuple[Literal["stft", "stft_halved", "mel", "cqt", "chroma", "mfcc"], ...] = FEATURES
    precision: Literal["float16", "uint8"] = "float16"
    chroma: Literal["librosa", "folded"] = "librosa"
    minimum_seconds: Positive = 29.0
    """A clip with less audio is an error (too_short): 643 frames take 29.9 s."""
    artwork_pixels: Annotated[int, Field(ge=32, le=2048)] = 640
    rows_per_block: Count = 32
    """Rows that one task extracts and commits together (32 clips of all features are about 75 MB)."""
    maximum_failed_share: Share = 0.05
    retry_errors: bool = False
    """Read again what is in the errors table (after the files were repaired)."""


@dataclass(frozen=True, kw_only=True)
class EmbedSettings:
    """Artist embeddings from related artists (thesis section 4)."""

    dimensions: Count = 800
    full_batch: bool = False
    """All artists in each step (small catalogs)."""
    learning_rates: tuple[Positive, ...] = (1e-3, 5e-4, 1e-5)
    artists_per_step: tuple[Count, ...] = (32, 16, 1)
    patience: tuple[Count, ...] = (1, 1, 2)
    maximum_passes: Count = 200
    """Passes of one stage, at most."""
    select_by: Literal["loss", "jaccard"] = "loss"
    """The figure that ends a stage and chooses the table that is kept; the Jaccard peaks and falls again while the loss still improves."""
    lazy: bool = False
    """Adam moves only the rows that a step names, for catalogs where a walk over the whole table in each step is too slow."""
    jaccard_artists: Count | None = None
    """Artists over which the Jaccard index is averaged, drawn once; all if not given."""


@dataclass(frozen=True, kw_only=True)
class SubmodelSettings:
    """One submodel: what it reads, how wide it is, how it is trained (thesis section 5)."""

    architecture: Literal["simple", "time", "freq", "rnn", "large_rnn", "lyrics", "albums"]
    feature: Literal["stft", "stft_halved", "mel", "cqt", "chroma", "mfcc"] | None = None
    sizes: dict[str, Any] = field(default_factory=dict)
    """Constructor arguments of the architecture; the thesis' values where not given."""
    standardise: Literal["per_frame", "per_clip", "none"] = "per_frame"
    pool: tuple[Count, Count] = (1, 1)
    """Average pooling of the input (frequency, time) before the model; (1, 1) is the thesis."""
    maximum_vocabulary: Count | None = None
    batch_size: Count = 8
    learning_rates: tuple[Positive, ...] = (1e-3,)
    patience: tuple[Count, ...] = (10,)
    """Epochs without a better validation metric after which each stage ends."""
    maximum_epochs: Count = 200
    """Epochs of one stage, at most."""
    gradient_norm: Positive | None = None
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    time_mask: Share = 0.0
    """Augmentation: up to this share of the frames is masked in each training example."""
    frequency_mask: Share = 0.0


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    workers: Count = 1
    cpus_per_worker: Positive = 1.0
    gpu: bool = False
    parallel_runs: Count = 1
    """Submodels trained at the same time."""
    cache_gigabytes: Positive = 2.0
    """Decoded inputs that a worker may keep in memory; what does not fit is read again each epoch."""
    maximum_failures: Annotated[int, Field(ge=0)] = 3


@dataclass(frozen=True, kw_only=True)
class EnsembleSettings:
    branches: tuple[Literal["chroma", "mfcc", "cqt", "mel", "lyrics", "albums", "location", "year"], ...] = BRANCHES
    sizes: dict[str, Any] = field(default_factory=dict)
    modality_dropout: Share = 0.0
    """Probability with which a training example loses a branch, so that any subset of inputs works; 0: every input is needed."""
    batch_size: Count = 8
    learning_rates: tuple[Positive, ...] = (1e-5,)
    patience: tuple[Count, ...] = (3,)
    maximum_epochs: Count = 200
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    neighbours: tuple[Count, ...] = (10,)
    examples: Annotated[int, Field(ge=0)] = 3
    """Recommendation examples to print."""


@dataclass(frozen=True, kw_only=True)
class RegistrySettings:
    tracking_uri: str | None = None
    """MLflow; MLFLOW_TRACKING_URI, then an SQLite file in a local store, if not given."""
    experiment: str = "musicrec"
    model: str = "musicrec"


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole run, from a catalog to a registered recommender."""

    store: str = "musicrec-store"
    """Where everything is written: a folder or s3://bucket/prefix."""
    catalog: str = "demo"
    """A folder or URI with the three tables, or 'demo'."""
    seed: int = 0
    ray: RaySettings = field(default_factory=RaySettings)
    catalog_rules: CatalogSettings = field(default_factory=CatalogSettings)
    extract: ExtractSettings = field(default_factory=ExtractSettings)
    embed: EmbedSettings = field(default_factory=EmbedSettings)
    models: dict[str, SubmodelSettings] = field(default_factory=dict)
    """The submodels by name."""
    train: TrainSettings = field(default_factory=TrainSettings)
    ensemble: EnsembleSettings = field(default_factory=EnsembleSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    registry: RegistrySettings = field(default_factory=RegistrySettings)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """A run of which only some submodels are trained."""

    submodels: str = ""
    """Names separated by commas (mel.time,mel.freq); all of the configuration's models if empty."""


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
    out: str = "recommendations.parquet"
    """Where the answers for a folder or a catalog are written."""
    neighbours: Count = 10
    """Artists for each track."""
    model: str = "models:/musicrec@champion"
    ray: RaySettings = field(default_factory=RaySettings)
    registry: RegistrySettings = field(default_factory=RegistrySettings)


# The submodels that each branch of the Recommendation ensemble reads (thesis section 3).
BRANCH_SUBMODELS = {
    "chroma": ("chroma.large_rnn",),
    "mfcc": ("mfcc.large_rnn",),
    "cqt": ("cqt.time", "cqt.freq"),
    "mel": ("mel.time", "mel.freq"),
    "lyrics": ("lyrics",),
    "albums": ("albums",),
    "location": (),
    "year": (),
}


def presets() -> list[str]:
    """The names that ``--preset`` takes."""
    folder = importlib.resources.files("musicrec") / "presets"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def preset(name: str) -> Config:
    """A preset by name.

    Raises
    ------
    ConfigError
        There is none of this name.
    """
    if name not in presets():
        raise ConfigError(f"--preset {name}: there is none of this name{_suggestion(name, presets())}; presets are {', '.join(presets())}")
    text = (importlib.resources.files("musicrec") / "presets" / f"{name}.yaml").read_text()
    return from_yaml(text, f"preset {name}")


def from_yaml(text: str, source: str) -> Config:
    """A configuration from YAML text; keys that are absent keep their defaults.

    Raises
    ------
    ConfigError
        Naming the source, the key and the fix, one line for each mistake.
    """
    try:
        mapping = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not readable as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(mapping, dict):
        raise ConfigError(f"{source}: expected keys and values at the top, found {type(mapping).__name__}")
    return _validated(Config, mapping, source)


def parse(arguments: list[str], description: str, kind: type[T] = Config, default: T | None = None) -> T:
    """The configuration of a job from its command line; prints the mistake and exits with code 2 if there is one."""
    try:
        chooser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        source = chooser.add_mutually_exclusive_group()
        source.add_argument("--preset")
        source.add_argument("--config")
        chosen, rest = chooser.parse_known_args(arguments)
        if default is None:
            default = kind(**vars(_from_file(chosen.config) if chosen.config else preset(chosen.preset or "demo")))
        usage = f"{description}\n\n--preset NAME ({', '.join(presets())}) or --config FILE.yaml first, then overrides:"
        config = tyro.cli(kind, default=default, args=rest, description=usage)
        return _validated(kind, dataclasses.asdict(config), "the command line")
    except ConfigError as error:
        print(f"configuration error: {error}", file=sys.stderr)
        raise SystemExit(EXIT_CONFIG) from error


def resolved(config: Any) -> dict[str, Any]:
    """The whole configuration as plain values, as it is written beside every result."""
    return dataclasses.asdict(config)


def check(config: Config) -> None:
    """The rules that span several keys.

    Raises
    ------
    ConfigError
        Naming the keys and the fix.
    """
    sections = {f"models.{name}": model for name, model in config.models.items()} | {"ensemble": config.ensemble, "embed": config.embed}
    for key, section in sections.items():
        if len(section.learning_rates) != len(section.patience):
            raise ConfigError(
                f"{key}.learning_rates has {len(section.learning_rates)} stages and {key}.patience {len(section.patience)}: "
                "give one patience a stage"
            )
    if len(config.embed.artists_per_step) != len(config.embed.patience):
        raise ConfigError("embed.artists_per_step and embed.patience must have one value a stage each")
    for name, model in config.models.items():
        needs_feature = model.architecture not in ("lyrics", "albums")
        if needs_feature != (model.feature is not None):
            wanted = "give one of " + ", ".join(FEATURES) if needs_feature else "leave it out"
            raise ConfigError(
                f"models.{name}.feature is {model.feature}, and architecture '{model.architecture}' reads another input: {wanted}"
            )
        if model.feature is not None and model.feature not in config.extract.features:
            raise ConfigError(f"models.{name}.feature is '{model.feature}', which extract.features does not list: add it there")
    for branch in config.ensemble.branches:
        missing = [name for name in BRANCH_SUBMODELS[branch] if name not in config.models]
        if missing:
            raise ConfigError(f"ensemble.branches has '{branch}', which needs models.{missing[0]}: add that model or leave the branch out")


def _from_file(path: str) -> Config:
    if not os.path.isfile(path):
        raise ConfigError(f"--config {path}: there is no such file; give a YAML file, or --preset with one of {', '.join(presets())}")
    with open(path, encoding="utf-8") as stream:
        return from_yaml(stream.read(), path)


def _suggestion(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    """The keys that stand beside the one at ``location``."""
    section: Any = Config
    for part in location[:-1]:
        if section is Config and part == "models":
            section = {"models": SubmodelSettings}
        elif isinstance(section, dict):
            section = section["models"]
        else:
            section = {f.name: f.default_factory for f in dataclasses.fields(section)}.get(str(part), Config)
    return [f.name for f in dataclasses.fields(section)] if dataclasses.is_dataclass(section) else []


def _validated(kind: type[T], mapping: dict[str, Any], source: str) -> T:
    try:
        config = _adapter(kind).validate_python(mapping)
    except pydantic.ValidationError as error:
        lines = []
        for mistake in error.errors():
            key = ".".join(str(part) for part in mistake["loc"])
            if mistake["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
                lines.append(f"{key}: unknown key{_suggestion(str(mistake['loc'][-1]), _known_keys(mistake['loc']))}")
            else:
                lines.append(f"{key} = {mistake['input']!r}: {mistake['msg']}")
        raise ConfigError(f"{source}: " + "; ".join(lines)) from error
    if isinstance(config, Config):
        check(config)
    return config


def _adapter(kind: type[T]) -> pydantic.TypeAdapter[T]:
    return pydantic.TypeAdapter(kind)


for _section in (
    RaySettings,
    CatalogSettings,
    ExtractSettings,
    EmbedSettings,
    SubmodelSettings,
    TrainSettings,
    EnsembleSettings,
    EvaluateSettings,
    RegistrySettings,
    Config,
    TrainConfig,
    RecommendConfig,
):
    _section.__pydantic_config__ = pydantic.ConfigDict(extra="forbid")
