"""Specification of a trained submodel: how to build it and to prepare its input.

Training and serving both use it; the weights are stored apart.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from torch import nn

from musicrec.audio import FEATURE_SHAPES
from musicrec.config.inputs import FIELDS, OWN_FIELD, VECTOR_NAMES, VECTORS
from musicrec.config.sections import ExtractSettings, SubmodelSettings
from musicrec.features.columns import Statistics
from musicrec.features.lyrics import Vocabulary
from musicrec.features.standardise import standardise
from musicrec.features.vectors import available_features, vector_length
from musicrec.models import build_model
from musicrec.models.shapes import INPUT_SHAPES


@dataclass(frozen=True)
class SubmodelSpec:
    """One submodel.

    Attributes
    ----------
    outputs
        Length of the vector that it predicts.
    standardise, pool
        How a spectrogram is standardised, and the (frequency, time) sizes of the average pooling in
        front of the model. Pictures are neither standardised nor pooled.
    bins
        Mean and deviation of each frequency bin over its training rows, each (frequency,), where it
        standardises by them.
    pixels
        Side of the pictures that it reads, where it reads pictures of the catalog.
    vocabulary
        The words that it knows, where it reads texts of the catalog.
    computed_from
        The features that its vector is computed from, where it reads such a vector.
    """

    name: str
    architecture: str
    outputs: int
    feature: str | None = None
    sizes: dict[str, Any] = field(default_factory=dict)
    standardise: str = "per_frame"
    pool: tuple[int, int] = (1, 1)
    bins: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    pixels: int | None = None
    vocabulary: Vocabulary | None = None
    computed_from: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.reads_pictures and tuple(self.pool) != (1, 1):
            raise ValueError(
                f"submodel {self.name}: pool is {tuple(self.pool)}, and the pictures of "
                f"'{self.feature}' are not pooled; use (1, 1)"
            )

    @property
    def reads_pictures(self) -> bool:
        """Whether the feature is pictures (3, 32, 32) and no spectrogram."""
        return self.feature == "cifar"

    @property
    def modality(self) -> str:
        """What it reads: the name of a feature, of a vector, or of a field of the catalog."""
        return self.feature or OWN_FIELD[self.architecture]

    @property
    def kind(self) -> Literal["feature", "vector", "text", "file"]:
        """What its modality is; the file of a field is a picture."""
        if self.feature is None:
            return FIELDS[self.modality].kind
        return "vector" if self.feature in VECTOR_NAMES else "feature"

    @property
    def features(self) -> tuple[str, ...]:
        """What extraction stores of a recording and its input needs; none for catalog fields."""
        own = () if self.feature is None else (self.feature,)
        return self.computed_from if self.feature in VECTORS else own

    def input_shape(self) -> tuple[int, ...]:
        """(frequency, time) of what the model reads; (channel, height, width) of pictures.

        A vector has one frame.
        """
        if self.kind == "vector":
            return vector_length(self.feature, self.computed_from), 1
        if self.reads_pictures:
            return INPUT_SHAPES[self.feature]
        frequency, time = FEATURE_SHAPES[self.feature]
        return frequency // self.pool[0], time // self.pool[1]

    def build(self) -> nn.Module:
        """Build the model, with weights drawn from torch's global generator."""
        sizes = dict(self.sizes)
        if self.kind == "vector":
            sizes["inputs"] = self.input_shape()[0]
        elif self.feature is not None and self.pool != (1, 1):
            sizes["shape"] = self.input_shape()
        if self.vocabulary is not None:
            sizes["vocabulary"] = self.vocabulary.rows
        return build_model(self.architecture, self.feature, self.outputs, **sizes)

    def prepare(self, feature: np.ndarray, statistics: Statistics | None = None) -> np.ndarray:
        """Turn an extracted feature (F, T) in dB, or a vector (D, 1), into the model's input.

        The result is (F / pool[0], T / pool[1]) float32, standardised, then pooled.

        ``statistics`` are the whole frames' mean and deviation, for ``stft_halved``. A picture of
        whole numbers from 0 to 255 becomes (3, 32, 32) float32 in [0, 1].
        """
        if self.reads_pictures:
            return feature.astype(np.float32) / 255
        known = {"per_frame": statistics, "per_feature_bin": self.bins}.get(self.standardise)
        mean, deviation = known or (None, None)
        values = standardise(feature, self.standardise, mean=mean, deviation=deviation)
        (high, wide), (rows, frames) = self.pool, self.input_shape()
        if (high, wide) == (1, 1):
            return values.astype(np.float32, copy=False)
        cut = values[: rows * high, : frames * wide]
        return cut.reshape(rows, high, frames, wide).mean(axis=(1, 3), dtype=np.float32)

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON can write them."""
        values = asdict(self)
        if self.vocabulary is not None:
            values["vocabulary"] = {
                "words": self.vocabulary.words,
                "shares": self.vocabulary.shares,
                "cut": self.vocabulary.cut,
            }
        if not self.computed_from:  # as specifications were written before there were vectors
            del values["computed_from"]
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> SubmodelSpec:
        """Return the specification that ``as_json`` gave."""
        vocabulary = values["vocabulary"]
        if vocabulary is not None:
            vocabulary = Vocabulary(
                tuple(vocabulary["words"]), tuple(vocabulary["shares"]), vocabulary["cut"]
            )
        bins = values.get("bins")  # specs of earlier versions have none
        bins = bins and tuple(map(tuple, bins))
        pool, computed_from = tuple(values["pool"]), tuple(values.get("computed_from", ()))
        changed = {"pool": pool, "bins": bins, "vocabulary": vocabulary}
        return cls(**{**values, **changed, "computed_from": computed_from})

    @classmethod
    def from_settings(
        cls,
        name: str,
        settings: SubmodelSettings,
        outputs: int,
        extract: ExtractSettings,
        vocabulary: Vocabulary | None = None,
        bins: Statistics | None = None,
    ) -> SubmodelSpec:
        """Return the specification of a configured submodel.

        Parameters
        ----------
        extract
            The settings of the extraction: the size of pictures, and the features of vectors.
        """
        computed_from = available_features(settings.feature, extract.features)
        spec = cls(
            name=name,
            architecture=settings.architecture,
            outputs=outputs,
            feature=settings.feature,
            sizes=settings.sizes,
            standardise=settings.standardise,
            pool=settings.pool,
            bins=bins and tuple(tuple(values.tolist()) for values in bins),
            computed_from=computed_from,
        )
        if spec.kind == "file":
            return replace(spec, pixels=extract.artwork_pixels)
        return replace(spec, vocabulary=vocabulary) if spec.kind == "text" else spec
