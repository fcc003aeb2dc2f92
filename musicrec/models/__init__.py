"""Every architecture of Whitell 2019, in plain torch."""

from __future__ import annotations

from .build import build_model, build_stack
from .layers import count_parameters, initialise
from .recommendation import (
    AUDIO_ONLY,
    BRANCHES,
    VARIANTS,
)
from .shapes import INPUT_SHAPES

__all__ = [
    "AUDIO_ONLY",
    "BRANCHES",
    "INPUT_SHAPES",
    "VARIANTS",
    "build_model",
    "build_stack",
    "count_parameters",
    "initialise",
]
