"""The registry of inputs: what a recommender can read of a track, and how it becomes a vector.

This is the only list of inputs. Settings, checks, models, training tables, queries and served
requests are made from it, so that a new input is an entry here (and a function, where it is a new
vector). It is plain data and imports quickly.

An input is one branch of the ensemble. It takes one of three ways:

- a feature of the recording, a vector computed from features (``VECTORS``) or by a pretrained
  network (``PRETRAINED``), through submodels;
- a text or a picture of the catalog, through a submodel of its own architecture (``OWN_FIELD``);
- numbers of the catalog, as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from musicrec.config.names import FEATURES, LATITUDES, LONGITUDES, YEARS


@dataclass(frozen=True)
class TrackField:
    """A value of a track: a column of the catalog, and a field of a query.

    Attributes
    ----------
    kind
        "file" (a location or the file's bytes), "text" or "number".
    table
        The catalog's table that has the column.
    limits
        Least and greatest valid number.
    example
        A value for the example that is stored with a registered model; None for files.
    """

    name: str
    kind: Literal["file", "text", "number"]
    table: Literal["tracks", "artists"] = "tracks"
    limits: tuple[float, float] | None = None
    example: Any = None


@dataclass(frozen=True)
class Vector:
    """A vector of fixed length that is computed from stored features of a track.

    Models read it like a feature: ``models.NAME.feature`` takes its name.

    Attributes
    ----------
    features
        The features that it is computed from, as far as they are extracted.
    function
        "module:function"; it maps a dictionary from feature to array (frequency, time) to a vector
        (D,). A changed computation needs another name, since trained models depend on it.
    """

    name: str
    features: tuple[str, ...]
    function: str


@dataclass(frozen=True)
class PretrainedVector:
    """A vector of a recording by a network trained elsewhere, extracted like a feature.

    ``extract.pretrained`` takes its name, and so does ``models.NAME.feature``.

    Attributes
    ----------
    length
        Its length D; the stored form is (D, 1).
    package, version
        The distribution on PyPI whose files are the weights (``musicrec/pretrained/README.md``).
    """

    name: str
    length: int
    package: str
    version: str


@dataclass(frozen=True)
class Input:
    """An input of the ensemble, named like its branch.

    Attributes
    ----------
    fields
        What a track must have.
    submodels
        Entries of ``models`` whose outputs the branch reads. None: the fields are numbers, which
        the branch reads scaled to 0..1.
    thesis
        Whether the thesis has it (Whitell 2019, "Recommendation").
    """

    name: str
    fields: tuple[str, ...]
    submodels: tuple[str, ...] = ()
    thesis: bool = True

    @property
    def numbers(self) -> tuple[str, ...]:
        """Return the fields that it reads as they are."""
        return () if self.submodels else self.fields


RECORDING = "audio"

FIELDS: dict[str, TrackField] = {
    each.name: each
    for each in (
        TrackField(RECORDING, "file"),
        TrackField("artwork", "file"),
        TrackField("lyrics", "text", example="ave verum corpus"),
        TrackField("year", "number", limits=YEARS, example=1791.0),
        TrackField("latitude", "number", "artists", LATITUDES, 47.8),
        TrackField("longitude", "number", "artists", LONGITUDES, 13.04),
    )
}

# Architectures that read a field of the catalog; all others read a feature or a vector.
OWN_FIELD: dict[str, str] = {"lyrics": "lyrics", "albums": "artwork"}
# Architectures that read vectors.
VECTOR_ARCHITECTURES = ("mlp",)

VECTORS: dict[str, Vector] = {
    each.name: each
    for each in (
        Vector(
            "statistics",
            ("mel", "cqt", "chroma", "mfcc"),
            "musicrec.features.wide_statistics:wide_statistics",
        ),
    )
}

PRETRAINED: dict[str, PretrainedVector] = {
    each.name: each for each in (PretrainedVector("musicnn", 200, "musicnn", "0.1.0"),)
}

# All vectors that a submodel can read.
VECTOR_NAMES: tuple[str, ...] = (*VECTORS, *PRETRAINED)

# Trained ensembles concatenate their branches in this order: append new inputs at the end.
INPUTS: dict[str, Input] = {
    each.name: each
    for each in (
        Input("chroma", (RECORDING,), ("chroma.large_rnn",)),
        Input("mfcc", (RECORDING,), ("mfcc.large_rnn",)),
        Input("cqt", (RECORDING,), ("cqt.time", "cqt.freq")),
        Input("mel", (RECORDING,), ("mel.time", "mel.freq")),
        Input("lyrics", ("lyrics",), ("lyrics",)),
        Input("albums", ("artwork",), ("albums",)),
        Input("location", ("latitude", "longitude")),
        Input("year", ("year",)),
        Input("statistics", (RECORDING,), ("statistics",), thesis=False),
        Input("musicnn", (RECORDING,), ("musicnn",), thesis=False),
    )
}

BRANCHES: tuple[str, ...] = tuple(INPUTS)
THESIS_BRANCHES: tuple[str, ...] = tuple(name for name, each in INPUTS.items() if each.thesis)
Branch = Literal[BRANCHES]
# What ``models.NAME.feature`` takes.
ModelFeature = Literal[(*FEATURES, *VECTOR_NAMES)]
Pretrained = Literal[tuple(PRETRAINED)]


def fields_of_kind(kind: str) -> tuple[str, ...]:
    """Return the names of the fields of a kind."""
    return tuple(name for name, each in FIELDS.items() if each.kind == kind)


def fields_of_table(table: str, *kinds: str) -> tuple[str, ...]:
    """Return the names of the fields of some kinds in a table of the catalog."""
    return tuple(
        name for name, each in FIELDS.items() if each.table == table and each.kind in kinds
    )


NUMBERS = fields_of_kind("number")


def submodels_of(branches: tuple[str, ...] | list[str]) -> list[str]:
    """Return the names of the submodels that some branches read."""
    return [name for branch in branches for name in INPUTS[branch].submodels]


def numbers_of(branches: tuple[str, ...] | list[str]) -> list[str]:
    """Return the names of the numbers that some branches read."""
    return [name for branch in branches for name in INPUTS[branch].numbers]


def field_of(architecture: str) -> str:
    """Return the field of a track that an architecture's input comes from."""
    return OWN_FIELD.get(architecture, RECORDING)
