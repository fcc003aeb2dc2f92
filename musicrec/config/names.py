"""Names that the configuration, the models and the features share: one definition of each."""

from __future__ import annotations

from typing import Literal, get_args

SpectralFeature = Literal["stft", "stft_halved", "mel", "cqt", "chroma", "mfcc"]
Feature = Literal["stft", "stft_halved", "mel", "cqt", "chroma", "mfcc", "cifar"]

# The six spectral features of a recording, in the order of the thesis.
SPECTRAL_FEATURES: tuple[str, ...] = get_args(SpectralFeature)
# Everything that extraction can store: the spectral features and the images of CIFAR-100.
FEATURES: tuple[str, ...] = get_args(Feature)

# From the oldest notated music to a year well ahead: typing errors (19, 20199) and the 0 of tag
# editors are outside, and the result does not depend on today's date.
YEARS = (900, 2100)
# Degrees.
LATITUDES = (-90, 90)
LONGITUDES = (-180, 180)
