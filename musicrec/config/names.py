"""Names that the configuration, the models and the features share: one definition of each."""

from __future__ import annotations

from typing import Literal, get_args

SpectralFeature = Literal["stft", "stft_halved", "mel", "cqt", "chroma", "mfcc"]
Feature = Literal["stft", "stft_halved", "mel", "cqt", "chroma", "mfcc", "cifar"]
Branch = Literal["chroma", "mfcc", "cqt", "mel", "lyrics", "albums", "location", "year"]

# The six spectral features of a recording, in the order of the thesis.
SPECTRAL_FEATURES: tuple[str, ...] = get_args(SpectralFeature)
# Everything that extraction can store: the spectral features and the images of CIFAR-100.
FEATURES: tuple[str, ...] = get_args(Feature)

# The inputs of the Recommendation ensemble, and the submodels that each one reads
# (Whitell 2019, "Recommendation").
BRANCHES: tuple[Branch, ...] = get_args(Branch)
BRANCH_SUBMODELS: dict[str, tuple[str, ...]] = {
    "chroma": ("chroma.large_rnn",),
    "mfcc": ("mfcc.large_rnn",),
    "cqt": ("cqt.time", "cqt.freq"),
    "mel": ("mel.time", "mel.freq"),
    "lyrics": ("lyrics",),
    "albums": ("albums",),
    "location": (),
    "year": (),
}

# From the oldest notated music to a year well ahead: typing errors (19, 20199) and the 0 of tag
# editors are outside, and the result does not depend on today's date.
YEARS = (900, 2100)
# Degrees.
LATITUDES = (-90, 90)
LONGITUDES = (-180, 180)
