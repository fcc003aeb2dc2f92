"""Results of the thesis (Whitell 2019): the values of Tables 3 to 6 and every parameter count.

Typed in by hand and independent of the models, which are checked against it. Models of one feature
are named ``feature.architecture``, stacks and other modalities by their own name.
"""

from __future__ import annotations

from dataclasses import dataclass

# Mean Jaccard index of the artist embeddings.
ARTIST_JACCARD = 0.548842
# Rows of the word table of the Lyrics model.
LYRICS_VOCABULARY = 497_948


@dataclass(frozen=True)
class Published:
    """One row of a table of the thesis.

    Attributes
    ----------
    model
        Its name in this package.
    values
        In the order of the table's metrics.
    parameters
        Including batch norm's running mean and variance. A stack of genres or averages counts its
        submodels, Recommendation does not. None where the thesis gives none.
    printed_parameters
        The number printed in the thesis, where it is a misprint.
    """

    model: str
    values: tuple[float, ...]
    parameters: int | None
    printed_parameters: int | None = None


@dataclass(frozen=True)
class Metric:
    """A column of numbers: ``name`` as in our results, ``title`` and ``decimals`` for display."""

    name: str
    title: str
    higher_is_better: bool
    decimals: int = 4


@dataclass(frozen=True)
class Table:
    """A table of results, its data set and the number of its models' outputs."""

    number: int
    title: str
    task: str
    outputs: int
    metrics: tuple[Metric, ...]
    rows: tuple[Published, ...]

    def row(self, model: str) -> Published:
        """Return the row of a model.

        Raises
        ------
        KeyError
            The table has no row of this name.
        """
        for row in self.rows:
            if row.model == model:
                return row
        names = ", ".join(row.model for row in self.rows)
        raise KeyError(f"table {self.number} has no row {model!r}: use one of {names}")


F1_MICRO = Metric("f1_micro", "micro-F1", higher_is_better=True)
HAMMING = Metric("hamming", "Hamming loss", higher_is_better=False, decimals=6)
MEAN_SQUARED_ERROR = Metric("mse", "mean squared error", higher_is_better=False, decimals=6)
COSINE = Metric("cosine", "mean cosine", higher_is_better=True)

TABLE_3 = Table(
    number=3,
    title="one genre, FMA medium",
    task="single_genre",
    outputs=16,
    metrics=(F1_MICRO,),
    rows=(
        Published("stft.time_freq", (0.627382,), 190_510),
        Published("stft.time", (0.612991,), 84_500),
        Published("stft.simple", (0.611046,), 733_736),
        Published("stft.freq", (0.585375,), 62_602),
        Published("stft_halved.time_freq", (0.630494,), 173_366),
        Published("stft_halved.time", (0.597822,), 67_988),
        Published("stft_halved.simple", (0.595488,), 733_736),
        Published("stft_halved.freq", (0.582264,), 61_970),
        Published("mel.time_freq", (0.627771,), 160_682),
        Published("mel.time", (0.619992,), 55_700),
        Published("mel.simple", (0.609102,), 733_736),
        Published("mel.freq", (0.584986,), 61_574),
        Published("cqt.time_freq", (0.619214,), 159_294),
        Published("cqt.time", (0.615714,), 54_292),
        Published("cqt.simple", (0.584208,), 733_736),
        Published("cqt.freq", (0.544535,), 61_594),
        Published("mfcc.time_freq", (0.550758,), 157_200),
        Published("mfcc.time", (0.549203,), 53_140),
        Published("mfcc.simple", (0.549592,), 733_736),
        Published("mfcc.freq", (0.506807,), 60_652),
        Published("chroma.time_freq", (0.536756,), 157_200),
        Published("chroma.time", (0.495138,), 53_140),
        Published("chroma.simple", (0.492804,), 733_736),
        Published("chroma.freq", (0.478802,), 60_652),
        Published("mfcc.rnn", (0.516142,), 1_000_976),
        Published("chroma.rnn", (0.467522,), 1_000_976),
        Published("genre_ensemble", (0.654998,), 3_157_406),
    ),
)

TABLE_4 = Table(
    number=4,
    title="one class, CIFAR-100",
    task="single_genre",
    outputs=100,
    metrics=(F1_MICRO,),
    rows=(
        Published("cifar.simple", (0.5708,), 819_980),
        Published("cifar.freq", (0.4684,), 73_288),
        Published("cifar.time", (0.4540,), 73_288),
        Published("cifar.time_freq", (0.0100,), 243_828),
    ),
)

TABLE_5 = Table(
    number=5,
    title="many genres, FMA large",
    task="many_genres",
    outputs=161,
    metrics=(HAMMING, MEAN_SQUARED_ERROR),
    rows=(
        Published("stft_halved.time_freq_avg", (0.018139, 0.015105), 204_488),
        Published("stft_halved.time", (0.018441, 0.015461), 105_253),
        Published("stft_halved.simple", (0.018578, 0.015624), 882_361),
        Published("stft_halved.freq", (0.018678, 0.015580), 99_235),
        # The thesis prints the next average's count; its own Time and Freq add up to this one.
        Published("mel.time_freq_avg", (0.018142, 0.015101), 191_804, printed_parameters=190_416),
        Published("mel.time", (0.018464, 0.015377), 92_965),
        Published("mel.simple", (0.018489, 0.015461), 882_361),
        Published("mel.freq", (0.018728, 0.015674), 98_839),
        Published("cqt.time_freq_avg", (0.018349, 0.015314), 190_416),
        Published("cqt.time", (0.018475, 0.015602), 91_557),
        Published("cqt.simple", (0.018681, 0.015716), 882_361),
        Published("cqt.freq", (0.018682, 0.015684), 98_859),
        Published("all_averaged", (0.018012, 0.014926), None),
    ),
)

TABLE_6 = Table(
    number=6,
    title="artist embedding, WebAPI",
    task="embedding",
    outputs=800,
    metrics=(COSINE,),
    rows=(
        Published("mel.time_freq_avg", (0.4043262,), 520_250),
        Published("mel.time", (0.4025255,), 257_188),
        Published("mel.simple", (0.3799719,), 1_537_336),
        Published("mel.freq", (0.3306473,), 263_062),
        Published("cqt.time_freq_avg", (0.3937517,), 518_862),
        Published("cqt.freq", (0.3791033,), 263_082),
        Published("cqt.simple", (0.3787154,), 1_537_336),
        Published("cqt.time", (0.3503861,), 255_780),
        Published("mfcc.large_rnn", (0.3105006,), 8_973_088),
        Published("chroma.large_rnn", (0.2704273,), 8_973_088),
        Published("lyrics", (0.3660617,), 108_755_200),
        Published("albums", (0.2045787,), 3_282_784),
        Published("recommendation", (0.5669792,), 50_522_912),
        Published("by_lyrics", (0.5404221,), 42_753_312),
        Published("by_location", (0.5387914,), 41_540_384),
        Published("by_year", (0.4962294,), 41_409_312),
        Published("by_albums", (0.4875399,), 42_753_312),
        Published("by_audio_only", (0.4848066,), 39_311_136),
    ),
)

TABLES: dict[int, Table] = {table.number: table for table in (TABLE_3, TABLE_4, TABLE_5, TABLE_6)}
