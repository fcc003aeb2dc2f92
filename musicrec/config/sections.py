"""The sections of a configuration, one frozen dataclass each; the defaults are the thesis'. Plain values: quick to import."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pydantic
from pydantic import AfterValidator, Field

FEATURES = ("stft", "stft_halved", "mel", "cqt", "chroma", "mfcc", "cifar")
BRANCHES = ("chroma", "mfcc", "cqt", "mel", "lyrics", "albums", "location", "year")
# Constructor arguments of architectures that are fractions; every other number among them is whole.
FRACTIONS = ("batch_norm_momentum", "dropout", "l2", "width_multiplier")


def _fractions_as_floats(sizes: dict[str, Any]) -> dict[str, Any]:
    """Sizes with 0 as 0.0 where they are fractions: what is one value is one in a key, and takes a fraction on the command line."""
    return {
        name: float(size) if name in FRACTIONS and type(size) is int else size
        for name, size in sizes.items()
    }


Feature = Literal["stft", "stft_halved", "mel", "cqt", "chroma", "mfcc", "cifar"]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Stages = Annotated[tuple[Positive, ...], Field(min_length=1)]
Optimizer = Literal["adam", "sgd"]
Decay = Literal["none", "cosine"]
SelectBy = Literal["metric", "neighbours"]
Sizes = Annotated[dict[str, Any], AfterValidator(_fractions_as_floats)]


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
    form: Literal["tables", "fma", "cifar100"] = "tables"
    """musicrec's three tables; the FMA data set as published (fma_metadata/ and the clips); the published pickles of CIFAR-100."""
    fma_subset: Literal["small", "medium", "large", "full"] = "medium"
    allowed_roots: tuple[str, ...] = ()
    """Locations outside the catalog's own folder that its URIs may name."""
    demo_clips: Count = 208
    """How many clips the embedded demo catalog holds."""
    demo_seconds: Annotated[float, Field(ge=30, le=600)] = 30.0
    """How long a track of the demo may be; a piece that is longer than 30 s is played on up to its end."""


@dataclass(frozen=True, kw_only=True)
class ExtractSettings:
    features: tuple[Feature, ...] = FEATURES[:6]
    precision: Literal["float16", "uint8"] = "float16"
    chroma: Literal["librosa", "folded"] = "librosa"
    minimum_seconds: Positive = 29.0
    """A clip with less audio is an error (too_short): 643 frames take 29.9 s."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where spectral features are computed: on every CPU, or on the GPUs of the cluster while CPUs decode. The two differ by up to
    0.1 dB, so each has features of its own in the store."""
    artwork_pixels: Annotated[int, Field(ge=32, le=2048)] = 640
    rows_per_block: Count = 32
    """Rows that one task extracts and commits together (32 clips of all features are about 75 MB)."""
    maximum_failed_share: Share = 0.05
    seconds_per_file: Positive = 60.0
    """A file whose reading takes longer is an error (timed_out)."""
    retry_errors: bool = False
    """Read again what is in the errors table, though its files are the same."""
    notice_changes: bool = True
    """Ask the storage for size and time of change of every file, and extract again what has changed under an unchanged URI. A listing of
    each folder: seconds for a million files of a disk, a request for a thousand files of object storage."""


@dataclass(frozen=True, kw_only=True)
class EmbedSettings:
    """Artist embeddings from related artists (thesis section 4)."""

    dimensions: Count = 800
    full_batch: bool = False
    """All artists in each step (small catalogs)."""
    learning_rates: Stages = (1e-3, 5e-4, 1e-5)
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
    objective: Literal["thesis", "contrastive"] = "thesis"
    """Binary cross entropy on pairs, or for each relation a softmax of the related artist among the step's other candidates."""
    temperature: Positive = 0.05
    """Of the contrastive objective, like all from here to ``steps``."""
    uniform_negatives: Count = 1024
    """Artists drawn in each step as candidates beside the heads and all that are related to them."""
    rank_exponent: NotNegative = 0.0
    """A relation of rank r weighs r to the power of minus this."""
    metric: Literal["cosine", "euclidean"] = "cosine"
    """The similarity that is learned and judged by; Euclidean keeps lengths. Submodels and recommendations go by directions alone."""
    initial: Literal["random", "spread"] = "random"
    """Where vectors begin: at random, or at random and then averaged along the relations, so that related artists start near each other."""
    steps: Literal["random", "near"] = "random"
    """Artists of a step: any, or some that lie near each other at the time; these share candidates, and the candidates are hard."""
    decay: Literal["none", "linear"] = "none"
    """Of the learning rate within a stage: none, or evenly towards 0 at ``maximum_passes``."""
    regions: Annotated[int, Field(ge=0)] = 0
    """Parts of the space that get one of their own beside it, trained alike (see ``musicrec.artists.resolution``); 0: none."""
    hold_out_test_relations: bool = False
    """Learn from no relation that has a test artist on either side; a test artist then has no place of its own, and evaluation asks
    whether its music leads to the artists that the held-out relations name. Off is the thesis, whose target is transductive."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the embeddings are trained."""
    warm_start: bool = True
    """Start from the store's last embeddings of the same catalog, seed and settings, where there are: known artists keep their places but
    for the drift that is allowed, new ones find theirs."""
    maximum_drift: Annotated[float, Field(ge=0, le=2)] = 0.05
    """Of a known artist: 1 minus the cosine to their vector of before. 0: nobody moves; 2: no limit."""


@dataclass(frozen=True, kw_only=True)
class SubmodelSettings:
    """One submodel: what it reads, how wide it is, how it is trained (thesis section 5)."""

    architecture: Literal["simple", "time", "freq", "rnn", "large_rnn", "lyrics", "albums"]
    feature: Feature | None = None
    sizes: Sizes = field(default_factory=dict)
    """Constructor arguments of the architecture; the thesis' values where not given."""
    standardise: Literal["per_frame", "per_clip", "per_feature_bin", "none"] = "per_frame"
    """To zero mean and unit deviation: each frame, each clip, or each frequency bin with the training split's statistics."""
    pool: tuple[Count, Count] = (1, 1)
    """Average pooling of the input (frequency, time) before the model; (1, 1) is the thesis."""
    maximum_vocabulary: Count | None = None
    batch_size: Count = 8
    learning_rates: Stages = (1e-3,)
    patience: tuple[Count, ...] = (10,)
    """Epochs without a better validation metric after which each stage ends."""
    select_by: SelectBy = "metric"
    """What the best epoch is the best by on the validation split: the task's own metric, or, of the task "embedding", "neighbours", the
    share of the target's 10 nearest artists among those of the output."""
    maximum_epochs: Count = 200
    """Epochs of one stage, at most."""
    optimizer: Optimizer = "adam"
    """"adam" (the thesis; AdamW where weights decay), or "sgd" with Nesterov's momentum of 0.9."""
    decay: Decay = "none"
    """Of the learning rate within a stage: none, or along a cosine towards 0 at ``maximum_epochs``."""
    gradient_norm: Positive | None = None
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    time_mask: Share = 0.0
    """Augmentation: up to this share of the frames is masked in each training example."""
    frequency_mask: Share = 0.0
    mixup: NotNegative = 0.0
    """Augmentation: alpha of the Beta distribution by which each example is mixed with another of its batch; 0: none."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    workers: Count = 1
    """Of each training. The global batch is the model's, divided among them."""
    minimum_workers: Count | None = None
    """Elastic: a training goes on with as few as these while others are missing, and grows again; ``workers`` if not given."""
    cpus_per_worker: Positive = 1.0
    gpu: bool = False
    launch: Literal["group", "task"] = "group"
    """A training as a Ray Train run with its group of workers, or, with one worker, as a Ray task whose process the next training takes
    over: for many trainings of seconds, which a group of its own takes longer to start than to end."""
    parallel_runs: Count = 1
    """Submodels trained at the same time."""
    batch_factor: Count = 1
    """Times every model's batch size, for many workers or large GPUs; learning rates grow by its square root, as Adam asks for
    (Malladi et al. 2022, On the SDEs and Scaling Rules for Adaptive Gradient Algorithms)."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the forward pass: bfloat16 where the GPU has it; weights, loss and optimizer stay float32."""
    compile: bool = False
    """Compile each model with torch.compile (a C++ compiler must be there); it pays on GPUs and long trainings."""
    cache_gigabytes: Positive = 2.0
    """Decoded inputs that a worker may keep in memory; what does not fit is read again each epoch."""
    maximum_failures: Annotated[int, Field(ge=0)] = 3
    folds: Annotated[int, Field(ge=0)] = 0
    """Stacks learn from out-of-fold predictions of so many folds by artist; 0: from predictions of the very tracks that their submodels
    were trained on, as the thesis."""

    def key_fields(self) -> dict[str, Any]:
        """What of the way of training decides a training's result, beside the model's own settings: a part of its key."""
        defaults = TrainSettings()
        return {
            name: value
            for name in ("batch_factor", "precision")
            if (value := getattr(self, name)) != getattr(defaults, name)
        }


@dataclass(frozen=True, kw_only=True)
class EnsembleSettings:
    branches: Annotated[
        tuple[Literal["chroma", "mfcc", "cqt", "mel", "lyrics", "albums", "location", "year"], ...],
        Field(min_length=1),
    ] = BRANCHES
    sizes: Sizes = field(default_factory=dict)
    modality_dropout: Share = 0.0
    """Probability with which a training example loses a branch, so that any subset of inputs works; 0: every input is needed."""
    batch_size: Count = 8
    learning_rates: Stages = (1e-5,)
    patience: tuple[Count, ...] = (3,)
    select_by: SelectBy = "metric"
    maximum_epochs: Count = 200
    optimizer: Optimizer = "adam"
    decay: Decay = "none"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


@dataclass(frozen=True, kw_only=True)
class StackSettings:
    """One stack over the outputs of frozen submodels of a genre task, or the mean of outputs of any task (thesis section 3)."""

    architecture: Literal["time_freq", "time_freq_avg", "genre_ensemble"]
    submodels: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names among ``models``, in the order in which their outputs are concatenated."""
    sizes: Sizes = field(default_factory=dict)
    batch_size: Count = 8
    learning_rates: Stages = (1e-3,)
    patience: tuple[Count, ...] = (20,)
    maximum_epochs: Count = 200
    optimizer: Optimizer = "adam"
    decay: Decay = "none"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    statistics: tuple[Feature, ...] = ("mfcc", "chroma")
    """Features whose clip statistics the baselines read; those that are not extracted are left out."""
    neighbours: Annotated[tuple[Count, ...], Field(min_length=1)] = (10, 20, 200)
    """Cut-offs of the retrieval's figures; one above the number of candidate artists takes them all, so that its recall is 1, and that of
    chance too. The first is the one that tables show and that decides which version serves."""
    examples: Annotated[int, Field(ge=0)] = 3
    """Recommendation examples to print."""


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    artists: Annotated[int, Field(ge=5)] = 3000
    """Artists on the maps of the embeddings, drawn once from the seed; all if there are no more. 3,000 take 17 s of one core."""
    perplexity: Positive = 50.0
    """Of t-SNE; a third of the artists at most is used."""
    examples: Count = 4
    """Artists with a table of recommendations, from the best done to the worst."""
    pictures: bool = True
    """Write every picture of the page as PNG and SVG beside it too."""


@dataclass(frozen=True, kw_only=True)
class RegistrySettings:
    tracking_uri: str | None = None
    """MLflow; MLFLOW_TRACKING_URI, then an SQLite file in a local store, if not given."""
    experiment: str = "musicrec"
    model: str = "musicrec"
    segments: Count = 1
    """Windows of 30 s of a longer recording, evenly spaced, over which a registered model averages; 1: its first 30 s, as the thesis.
    Versions are compared as they are served; the report's figures are of the first window."""


@dataclass(frozen=True, kw_only=True)
class LockSettings:
    wait: bool = True
    """Wait for another run that works on the same output; otherwise end at once and name it."""


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


for _section in (
    RaySettings,
    CatalogSettings,
    ExtractSettings,
    EmbedSettings,
    SubmodelSettings,
    TrainSettings,
    EnsembleSettings,
    StackSettings,
    EvaluateSettings,
    ReportSettings,
    RegistrySettings,
    LockSettings,
):
    _section.__pydantic_config__ = pydantic.ConfigDict(extra="forbid")
