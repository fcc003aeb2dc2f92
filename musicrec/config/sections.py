"""The sections of a configuration, one frozen dataclass each.

The defaults are the thesis' values, but for the artist embeddings, whose defaults are those that
find most of the relations held out of them.

Everything here is plain data that imports quickly, so that a wrong key is reported within the first
second. The docstring of a field is its help text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pydantic
from pydantic import AfterValidator, Field

from musicrec.config.inputs import THESIS_BRANCHES, Branch, ModelFeature, Pretrained
from musicrec.config.names import SPECTRAL_FEATURES, Feature

# Constructor arguments of architectures that are fractions; every other number is a whole one.
FRACTIONS = ("batch_norm_momentum", "dropout", "l2", "width_multiplier")


def _fractions_as_floats(sizes: dict[str, Any]) -> dict[str, Any]:
    """Return sizes with a whole number as a float where it stands for a fraction.

    0 and 0.0 then give the same key, and the command line accepts a fraction.
    """
    return {
        name: float(size) if name in FRACTIONS and type(size) is int else size
        for name, size in sizes.items()
    }


Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
# TSNE of the report takes no larger seed, and numpy no negative one.
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Phases = Annotated[tuple[Positive, ...], Field(min_length=1)]
Optimizer = Literal["adam", "sgd"]
Decay = Literal["none", "cosine"]
SelectBy = Literal["metric", "neighbours"]
Member = Literal["votes", "popularity"]
Sizes = Annotated[dict[str, Any], AfterValidator(_fractions_as_floats)]


@dataclass(frozen=True, kw_only=True)
class RaySettings:
    """The Ray cluster: joined where RAY_ADDRESS or ``address`` names one, else started locally."""

    address: str | None = None
    """Address of the Ray cluster to join; RAY_ADDRESS if not given, else a local Ray is started."""
    num_cpus: Count | None = None
    """CPUs of a Ray that is started locally; all CPUs of the machine if not given."""
    worker_logs: bool = False
    """Print the workers' output too; Ray keeps it in its log folder in any case."""


@dataclass(frozen=True, kw_only=True)
class CatalogSettings:
    """How the catalog is read."""

    form: Literal["tables", "folder", "fma", "music4all", "jamendo", "cifar100"] = "tables"
    """Layout of the catalog: musicrec's three tables, a folder of tagged audio files, or a data set
    as published: FMA (fma_metadata/ and the clips), Music4All, MTG-Jamendo, or the pickles of
    CIFAR-100."""
    fma_subset: Literal["small", "medium", "large", "full"] = "medium"
    """Subset of the FMA data set to read."""
    allowed_roots: tuple[str, ...] = ()
    """Locations outside the catalog's own folder that its URIs and links may name."""
    demo_clips: Count = 208
    """Number of clips in the embedded demo catalog."""
    demo_seconds: Annotated[float, Field(ge=30, le=600)] = 30.0
    """Longest duration of a demo track in seconds; a piece longer than 30 s is rendered up to
    it."""


@dataclass(frozen=True, kw_only=True)
class ExtractSettings:
    """Feature extraction."""

    features: tuple[Feature, ...] = SPECTRAL_FEATURES
    """Features to extract and store."""
    pretrained: tuple[Pretrained, ...] = ()
    """Networks trained elsewhere, whose vectors of the recordings are extracted too; each needs a
    package of weights (musicrec/pretrained/README.md)."""
    precision: Literal["float16", "uint8"] = "float16"
    """Stored precision of the features."""
    chroma: Literal["librosa", "folded"] = "librosa"
    """Chroma as librosa's chroma_cqt, or the constant-Q transform folded into 12 pitch classes."""
    minimum_seconds: Positive = 29.0
    """Shortest clip in seconds; a shorter one is an error (too_short). 643 frames take 29.9 s."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Device that computes spectral features: CPUs, or GPUs while CPUs decode. The results differ
    by up to 0.1 dB, so each device has features of its own in the store."""
    artwork_pixels: Annotated[int, Field(ge=32, le=2048)] = 640
    """Width and height of stored album art in pixels."""
    rows_per_block: Count = 32
    """Rows that one task extracts and commits together; 32 clips of all features are about 75
    MB."""
    maximum_failed_share: Fraction = 0.05
    """Largest fraction of failed rows; above it the job stops."""
    seconds_per_file: Positive = 60.0
    """Time limit for reading one file in seconds; a file that takes longer is an error
    (timed_out)."""
    retry_errors: bool = False
    """Read the rows of the errors table again, although their files have not changed."""
    notice_changes: bool = True
    """Compare size and modification time of every file with the last run, and extract changed files
    again. Costs one listing per folder: seconds for a million local files, one request per thousand
    objects of an object store."""


@dataclass(frozen=True, kw_only=True)
class EmbedSettings:
    """Artist embeddings from related artists (Whitell 2019, "Artist Embeddings")."""

    dimensions: Count = 800
    """Length of an artist's vector."""
    full_batch: bool = False
    """Use all artists in each step (for small catalogs)."""
    learning_rates: Phases = (0.03,)
    """Learning rate of each phase."""
    artists_per_step: tuple[Count, ...] = (512,)
    """Artists per step in each phase."""
    patience: tuple[Count, ...] = (3,)
    """Passes without improvement after which each phase ends."""
    maximum_passes: Count = 6
    """Largest number of passes over the artists per phase."""
    select_by: Literal["loss", "jaccard", "held_out"] = "held_out"
    """Metric that ends a phase and selects the vectors that are kept: the training loss, the
    Jaccard index of the relations seen (it peaks and falls again while the loss still improves), or
    the NDCG of relations held out. The latter first trains without them to choose temperature and
    passes, then on all relations."""
    held_out: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """Share held out to choose the embeddings and to compare them with baselines (0: none)."""
    held_out_by: Literal["edge", "artist"] = "edge"
    """What is held out: a share of all pairs of related artists, or all pairs among a share of the
    artists."""
    lazy: bool = False
    """Let Adam update only the rows in a step, for catalogs whose whole table is too slow to update
    in each step."""
    jaccard_artists: Count | None = None
    """Artists over which the Jaccard index is averaged, drawn once; all if not given."""
    objective: Literal["thesis", "contrastive", "pagerank"] = "pagerank"
    """Binary cross entropy on pairs (the thesis), per relation a softmax of the related artist
    among the step's other candidates, or a softmax over all artists with personalised PageRank as
    soft positives."""
    temperature: Positive = 0.05
    """Softmax temperature, unless held-out relations choose among temperatures (contrastive and
    pagerank objectives only)."""
    temperatures: tuple[Positive, ...] = (0.07, 0.1, 0.15, 0.2)
    """Softmax temperatures among which held-out relations choose (select_by held_out; contrastive
    and pagerank objectives only)."""
    uniform_negatives: Count = 1024
    """Artists drawn in each step as additional candidates (contrastive and pagerank objectives
    only)."""
    restart: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Probability that a walk along relations ends at each step; higher keeps neighbourhoods closer
    (pagerank objective only)."""
    neighbourhood: Count = 400
    """Artists with a share in a neighbourhood (pagerank objective only)."""
    rank_exponent: NotNegative = 0.0
    """A relation of rank r has weight r to the power of minus this (contrastive objective only)."""
    metric: Literal["cosine", "euclidean"] = "cosine"
    """Similarity that is learned and evaluated; submodels and recommendations always use the cosine
    (euclidean: contrastive objective only)."""
    initial: Literal["random", "spread"] = "random"
    """Initial vectors: random, or random and then averaged along the relations (contrastive
    and pagerank objectives only)."""
    steps: Literal["random", "near"] = "random"
    """Artists of a step: random, or near each other, which makes each other's candidates hard
    and fewer (contrastive and pagerank objectives only)."""
    decay: Literal["none", "linear"] = "linear"
    """Learning rate schedule within a phase: constant, or linear to 0 at maximum_passes."""
    hold_out_test_relations: bool = False
    """Leave out every relation of a test artist. The evaluation then measures whether the music of
    a test artist leads to the artists of the relations held out. Off in the thesis, whose target is
    transductive."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Device on which the embeddings are trained."""
    warm_start: bool = True
    """Start from the store's last embeddings of the same catalog, seed and settings, if any: known
    artists move at most by maximum_drift, new ones are added."""
    maximum_drift: Annotated[float, Field(ge=0, le=2)] = 0.05
    """Largest cosine distance from the previous run's vector (0: frozen, 2: unlimited)."""

    def without_effect(self) -> set[str]:
        """Return the settings that do not decide the embeddings as the others are set."""
        names = set()
        if self.select_by != "held_out":
            names |= {"held_out", "held_out_by", "temperatures"}
        if self.objective != "pagerank":
            names |= {"restart", "neighbourhood"}
        return names


@dataclass(frozen=True, kw_only=True)
class OptimizationSettings:
    """How a network is optimized; the base of submodels, stacks and the ensemble."""

    batch_size: Count = 8
    """Examples per training step."""
    learning_rates: Phases = (1e-3,)
    """Learning rate of each phase."""
    patience: tuple[Count, ...] = (10,)
    """Epochs without a better validation metric after which each phase ends."""
    maximum_epochs: Count = 200
    """Largest number of epochs per phase."""
    optimizer: Optimizer = "adam"
    """Optimizer: "adam" (the thesis; AdamW with weight decay), or "sgd" with Nesterov momentum
    0.9."""
    decay: Decay = "none"
    """Learning rate schedule within a phase: constant, or a cosine to 0 at maximum_epochs."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay."""


@dataclass(frozen=True, kw_only=True)
class SubmodelSettings(OptimizationSettings):
    """One submodel: its input, its size and its training (Whitell 2019, "Training")."""

    architecture: Literal["simple", "time", "freq", "rnn", "large_rnn", "lyrics", "albums", "mlp"]
    """Architecture of the network."""
    feature: ModelFeature | None = None
    """Feature that the network reads, or the vector computed from features (mlp); none for lyrics
    and albums."""
    sizes: Sizes = field(default_factory=dict)
    """Constructor arguments of the architecture; the thesis' values where not given."""
    standardise: Literal["per_frame", "per_clip", "per_feature_bin", "none"] = "per_frame"
    """Zero mean and unit deviation of each frame, of each clip, or of each frequency bin (with
    statistics of the training split)."""
    pool: tuple[Count, Count] = (1, 1)
    """Average pooling of the input (frequency, time) before the network; (1, 1) in the thesis."""
    maximum_vocabulary: Count | None = None
    """Largest number of words of a lyrics vocabulary; all words if not given."""
    select_by: SelectBy = "metric"
    """What selects the best epoch on the validation split: the task's metric, or (task "embedding")
    "neighbours", the fraction of the target's 10 nearest artists among those of the output."""
    gradient_norm: Positive | None = None
    """Largest norm of the gradient; not clipped if not given."""
    time_mask: Fraction = 0.0
    """Augmentation: largest fraction of the frames that is masked in a training example."""
    frequency_mask: Fraction = 0.0
    """Augmentation: largest fraction of the frequency bins that is masked in a training example."""
    mixup: NotNegative = 0.0
    """Augmentation: alpha of the Beta distribution that mixes pairs of examples of a batch; 0:
    none."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Where and how training runs execute."""

    workers: Count = 1
    """Workers per training run; the global batch is divided among them."""
    minimum_workers: Count | None = None
    """Elastic training: continue with as few workers as these while others are missing; ``workers``
    if not given."""
    cpus_per_worker: Positive = 1.0
    """CPUs per worker."""
    gpu: bool = False
    """Give each worker a GPU."""
    launch: Literal["group", "task"] = "group"
    """Start a training run as a Ray Train worker group, or (one worker only) as a Ray task whose
    process the next run reuses, for runs of seconds that take longer to start than to train."""
    parallel_runs: Count = 1
    """Submodels trained at the same time."""
    batch_factor: Count = 1
    """Factor on every batch size, for many workers or large GPUs; learning rates grow by its square
    root (Malladi et al. 2022, On the SDEs and Scaling Rules for Adaptive Gradient Algorithms)."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the forward pass on GPUs; weights, loss and optimizer stay float32."""
    compile: bool = False
    """Compile each model with torch.compile (needs a C++ compiler); pays on GPUs and long runs."""
    cache_gigabytes: Positive = 2.0
    """Decoded inputs that a worker keeps in memory; the rest is read again each epoch."""
    maximum_failures: CountOrZero = 3
    """Failed worker groups that a training run survives."""
    folds: CountOrZero = 0
    """Folds by artist of the out-of-fold predictions that stacks learn from; 0: predictions of the
    tracks that the submodels were trained on, as in the thesis."""

    def key_fields(self) -> dict[str, Any]:
        """Return the settings that change a training run's result, where they are not the default.

        They are part of its key, beside the model's own settings.
        """
        defaults = TrainSettings()
        return {
            name: value
            for name in ("batch_factor", "precision")
            if (value := getattr(self, name)) != getattr(defaults, name)
        }


@dataclass(frozen=True, kw_only=True)
class EnsembleSettings(OptimizationSettings):
    """The Recommendation ensemble over the submodels' outputs and the metadata."""

    branches: Annotated[tuple[Branch, ...], Field(min_length=1)] = THESIS_BRANCHES
    """Inputs of the ensemble."""
    sizes: Sizes = field(default_factory=dict)
    """Constructor arguments of the network; the thesis' values where not given."""
    modality_dropout: Fraction = 0.0
    """Probability that a training example loses a branch, so that any subset of the inputs works;
    0: every input is required."""
    learning_rates: Phases = (1e-5,)
    """Learning rate of each phase."""
    patience: tuple[Count, ...] = (3,)
    """Epochs without a better validation metric after which each phase ends."""
    select_by: SelectBy = "metric"
    """What selects the best epoch on the validation split; see models.NAME.select_by."""


@dataclass(frozen=True, kw_only=True)
class RankingSettings:
    """Members of the recommender's ranking next to the network."""

    members: tuple[Member, ...] = ()
    """Members that may take part; their weights are chosen on the validation artists, and may be 0.
    votes: the artists related to those of the nearest training tracks. popularity: how many artists
    name an artist as related. None in the thesis, which ranks by the network's cosine."""
    neighbours: Count = 20
    """Training tracks that vote."""


@dataclass(frozen=True, kw_only=True)
class StackSettings(OptimizationSettings):
    """A stack over the outputs of frozen submodels (genres), or the mean of outputs (any task)."""

    architecture: Literal["time_freq", "time_freq_avg", "genre_ensemble"]
    """Architecture of the stack."""
    submodels: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of submodels, in the order in which their outputs are concatenated."""
    sizes: Sizes = field(default_factory=dict)
    """Constructor arguments of the architecture; the thesis' values where not given."""
    patience: tuple[Count, ...] = (20,)
    """Epochs without a better validation metric after which each phase ends."""


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """Evaluation on the test artists."""

    statistics: tuple[Feature, ...] = ("mfcc", "chroma")
    """Features whose clip statistics the baselines read; features not extracted are skipped."""
    neighbours: Annotated[tuple[Count, ...], Field(min_length=1)] = (10, 20, 200)
    """Cut-offs of the retrieval metrics. The first one is shown in tables and decides promotions. A
    cut-off above the number of candidates takes all of them, so that recall is 1."""
    examples: CountOrZero = 3
    """Recommendation examples to print."""


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """The HTML report."""

    artists: Annotated[int, Field(ge=5)] = 3000
    """Artists on the maps of the embeddings, drawn once from the seed; 3,000 take 17 s of one
    core."""
    perplexity: Positive = 50.0
    """Perplexity of t-SNE; at most a third of the number of artists is used."""
    examples: Count = 4
    """Artists with a table of recommendations, from the best score to the worst."""
    pictures: bool = True
    """Also write every plot of the page as PNG and SVG."""


@dataclass(frozen=True, kw_only=True)
class RegistrySettings:
    """MLflow tracking and the model registry."""

    tracking_uri: str | None = None
    """MLflow tracking URI; MLFLOW_TRACKING_URI if not given, else an SQLite file in a local
    store."""
    experiment: str = "musicrec"
    """MLflow experiment of the runs."""
    model: str = "musicrec"
    """Name of the registered model."""
    segments: Count = 1
    """Evenly spaced windows of 30 s over which a registered model averages a longer recording; 1:
    its first 30 s, as in the thesis. Versions are compared as they are served; the report covers
    the first window."""
    require_baseline: bool = True
    """A version becomes champion only if it is better than the best baseline (popularity, ridge,
    chance) on at least 10 test artists: the first one if its score is higher, a later one if the
    95 % interval of the difference, paired over the artists, is above 0. Otherwise it is
    challenger. False: no such condition."""
    margin: Fraction = 0.05
    """Largest loss of NDCG, at the first of evaluate.neighbours, with which a version replaces the
    champion: the 95 % interval of the difference, paired over the test artists, must be above minus
    this. With few test artists intervals are wide, and a champion stays unless this is larger."""


@dataclass(frozen=True, kw_only=True)
class LockSettings:
    """Locks on the store's stages."""

    wait: bool = True
    """Wait for another run that writes the same output; otherwise stop at once and name it."""


PlaysForm = Literal["table", "lastfm1k", "listenbrainz", "music4all", "msd", "connections", "olga"]


@dataclass(frozen=True, kw_only=True)
class RelationsSettings:
    """Relations from plays, playlists, sessions or published similarities."""

    item: Literal["artist", "album", "track"] = "artist"
    """What is related. A catalog needs artists."""
    group: Literal["user", "session"] = "user"
    """What items have in common: users (or playlists, where the log has them in that column), or a
    user's sessions, which need times."""
    session_minutes: Positive = 30.0
    """Minutes without a play after which a session ends."""
    user_column: str = "user"
    """Column of the user or the playlist (form table)."""
    item_column: str = "item"
    """Column of the played item (form table)."""
    count_column: str | None = None
    """Column of the number of plays; each row is one play if not given (form table)."""
    time_column: str = "time"
    """Column of the time, as seconds or milliseconds since 1970 or as ISO 8601; read for sessions
    only (form table)."""
    identify_by: Literal["id", "name"] = "id"
    """Take an item's id or its name, where a log has both (lastfm1k, listenbrainz). A row without
    it is an error."""
    tracks: str | None = None
    """Table of tracks, CSV or Parquet, with their artist and album: the log's tracks are replaced
    by these before they are counted. The tracks of a catalog and Music4All's id_information.csv are
    such tables."""
    minimum_plays: Count = 1
    """Plays of an item by a group below which it does not count."""
    minimum_support: Count = 2
    """Groups that two items must have in common to be related."""
    popularity_damping: Fraction = 0.5
    """Power of the number of groups of both items by which their common groups are divided: 0
    counts common groups, 0.5 is the cosine, 1 favours rare items."""
    neighbours: Count = 20
    """Largest number of related items per item."""
    maximum_items: Annotated[int, Field(ge=2)] = 500
    """Largest number of items of a group that are counted, the most played ones; its pairs grow
    with the square."""
    maximum_failed_share: Fraction = 0.05
    """Largest fraction of bad rows; above it the job stops."""


for _section in (
    RelationsSettings,
    RaySettings,
    CatalogSettings,
    ExtractSettings,
    EmbedSettings,
    SubmodelSettings,
    TrainSettings,
    EnsembleSettings,
    RankingSettings,
    StackSettings,
    EvaluateSettings,
    ReportSettings,
    RegistrySettings,
    LockSettings,
):
    _section.__pydantic_config__ = pydantic.ConfigDict(extra="forbid")
