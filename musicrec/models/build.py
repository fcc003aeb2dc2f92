"""Models by name."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from .artwork import Albums
from .freq import Freq
from .lyrics import Lyrics
from .mlp import MLP
from .recommendation import Recommendation
from .rnn import RNN, LargeRNN
from .simple import Simple
from .stacks import GenreEnsemble, TimeFreq, TimeFreqAvg
from .time import Time

# Architectures that read one of the features in shapes.INPUT_SHAPES.
SPECTRAL: dict[str, type[nn.Module]] = {
    "simple": Simple,
    "time": Time,
    "freq": Freq,
    "rnn": RNN,
    "large_rnn": LargeRNN,
}
# Architectures that read a vector of numbers.
VECTOR: dict[str, type[nn.Module]] = {"mlp": MLP}
# Architectures with an input of their own.
OTHER: dict[str, type[nn.Module]] = {"lyrics": Lyrics, "albums": Albums}
STACKS: dict[str, type[nn.Module]] = {
    "time_freq": TimeFreq,
    "time_freq_avg": TimeFreqAvg,
    "genre_ensemble": GenreEnsemble,
    "recommendation": Recommendation,
}


def build_model(architecture: str, feature: str | None, outputs: int, **sizes: Any) -> nn.Module:
    """Build a single-input architecture, with weights drawn from torch's global generator.

    Parameters
    ----------
    architecture : str
        "simple", "time", "freq", "rnn", "large_rnn", "mlp", "lyrics" or "albums".
    feature : str or None
        The feature that the first five read, or the name of the vector of "mlp"; None for "lyrics"
        and "albums".
    outputs : int
        Length of the output vector: classes or embedding size.
    **sizes
        Keyword arguments of the architecture's class, the thesis' values by default; "lyrics" needs
        `vocabulary`, and "mlp" needs `inputs`.

    Returns
    -------
    nn.Module
        Input (B, channels, F, T) for the first five, (B, inputs) for "mlp", (B, L) whole numbers
        for "lyrics", (B, 3, H, W) in [0, 1] for "albums"; output (B, outputs), without softmax or
        sigmoid.

    Raises
    ------
    ValueError
        If a name or a size is unknown, missing or does not fit.
    """
    if architecture in (*SPECTRAL, *VECTOR) and feature is None:
        raise ValueError(f"architecture {architecture!r} reads a feature, and none is named")
    if architecture in VECTOR:
        return _construct(VECTOR[architecture], architecture, (outputs,), sizes)
    if architecture in SPECTRAL:
        return _construct(SPECTRAL[architecture], architecture, (feature, outputs), sizes)
    if architecture in OTHER:
        if feature is not None:
            raise ValueError(
                f"architecture {architecture!r} reads no spectral feature: feature must be "
                f"None, not {feature!r}"
            )
        return _construct(OTHER[architecture], architecture, (outputs,), sizes)
    known = ", ".join((*SPECTRAL, *VECTOR, *OTHER))
    raise ValueError(f"unknown architecture {architecture!r}: use one of {known}")


def build_stack(name: str, outputs: int, **sizes: Any) -> nn.Module:
    """Build an ensemble over submodels' outputs, with weights from torch's global generator.

    Parameters
    ----------
    name : str
        "time_freq", "time_freq_avg", "genre_ensemble" or "recommendation".
    outputs : int
        Length of the output vector, and of each submodel's unless `submodel_outputs` says
        otherwise.
    **sizes
        Keyword arguments of the ensemble's class, the thesis' values by default.

    Raises
    ------
    ValueError
        If a name or a size is unknown or does not fit.
    """
    if name not in STACKS:
        raise ValueError(f"unknown stack {name!r}: use one of {', '.join(STACKS)}")
    return _construct(STACKS[name], name, (outputs,), sizes)


def _construct(
    model: type[nn.Module], name: str, arguments: tuple[Any, ...], sizes: dict[str, Any]
) -> nn.Module:
    outputs = arguments[-1]
    if not isinstance(outputs, int) or outputs < 1:
        raise ValueError(f"outputs={outputs!r} must be a whole number of at least 1")
    parameters = inspect.signature(model).parameters.values()
    allowed = {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    unknown = [size for size in sizes if size not in allowed]
    if unknown:
        raise ValueError(
            f"{name!r} has no size {', '.join(map(repr, unknown))}: use {', '.join(allowed)}"
        )
    missing = [
        size
        for size, default in allowed.items()
        if default is inspect.Parameter.empty and size not in sizes
    ]
    if missing:
        raise ValueError(f"{name!r} needs the size {', '.join(map(repr, missing))}")
    return model(*arguments, **sizes)
