"""Turn a recording into the six spectral features of the thesis.

Pure NumPy, SciPy, Numba and torch: nothing here depends on a cluster.
Decoding and features are imported on first use, because importing Numba takes most of a second.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from musicrec.audio.errors import AUDIO_ERRORS, AudioError
from musicrec.audio.parameters import (
    CLIP_SECONDS,
    FEATURE_SHAPES,
    FEATURES,
    FRAMES,
    HOP,
    SAMPLE_RATE,
    feature_parameters,
)

if TYPE_CHECKING:
    from musicrec.audio.decoding import DecodedAudio, decode, load_audio
    from musicrec.audio.features import compile_kernels, extract_features
    from musicrec.audio.kernels.half import to_float16
    from musicrec.audio.limits import Limits
    from musicrec.audio.segmentation import Segment, spread_segments

_LAZY = {
    "DecodedAudio": "decoding",
    "Limits": "limits",
    "decode": "decoding",
    "load_audio": "decoding",
    "compile_kernels": "features",
    "extract_features": "features",
    "to_float16": "kernels.half",
    "Segment": "segmentation",
    "spread_segments": "segmentation",
}

__all__ = [
    "AUDIO_ERRORS",
    "CLIP_SECONDS",
    "FEATURES",
    "FEATURE_SHAPES",
    "FRAMES",
    "HOP",
    "SAMPLE_RATE",
    "AudioError",
    "DecodedAudio",
    "Limits",
    "Segment",
    "compile_kernels",
    "decode",
    "extract_features",
    "feature_parameters",
    "load_audio",
    "spread_segments",
    "to_float16",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
