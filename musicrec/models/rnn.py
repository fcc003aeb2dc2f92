"""RNN and LargeRNN: recurrent layers over the frames of a clip (Whitell 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from .layers import initialise
from .shapes import input_shape


class RecurrentStack(nn.Module):
    """Recurrent layers of growing or equal width, one after another; keeps the last output.

    Two bias vectors for each gate, as cuDNN has.

    Parameters
    ----------
    cell : type
        `nn.GRU` or `nn.LSTM`.
    inputs : int
        Length of the vector at each step.
    hidden : sequence of int
        Width of each layer.
    """

    def __init__(
        self, cell: type[nn.GRU] | type[nn.LSTM], inputs: int, hidden: Sequence[int]
    ) -> None:
        super().__init__()
        if not hidden:
            raise ValueError("hidden=() names no recurrent layer: give the width of each layer")
        widths = (inputs, *hidden)
        self.layers = nn.ModuleList(
            cell(before, after, batch_first=True) for before, after in pairwise(widths)
        )

    def forward(self, sequence: Tensor | PackedSequence) -> Tensor:
        """Map (B, L, inputs), or the same packed, to (B, hidden[-1]).

        The result is the output at each sequence's last step.
        """
        for layer in self.layers:
            sequence, state = layer(sequence)
        last = state[0] if isinstance(state, tuple) else state  # (1, B, hidden[-1])
        return last[0]


class SpectralRNN(nn.Module):
    """Recurrent layers over the frames of a feature, then dense. Base of `RNN` and `LargeRNN`."""

    cell: type[nn.GRU] | type[nn.LSTM]

    def __init__(
        self, feature: str, outputs: int, hidden: Sequence[int], shape: Sequence[int] | None
    ) -> None:
        super().__init__()
        channels, self.rows, _ = input_shape(feature, shape)
        if channels != 1:
            raise ValueError(
                f"a recurrent architecture reads a spectral feature of one channel, {feature!r} "
                f"has {channels}"
            )
        self.recurrent = RecurrentStack(self.cell, self.rows, hidden)
        self.head = nn.Linear(hidden[-1], outputs)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, F, T) -> (B, outputs), without softmax or sigmoid; T is free."""
        if images.ndim != 4 or images.shape[1:3] != (1, self.rows):
            raise ValueError(
                f"input of shape {tuple(images.shape)} where (batch, 1, {self.rows}, time) is "
                "expected"
            )
        frames = images.squeeze(1).transpose(1, 2)  # (B, T, F)
        return self.head(self.recurrent(frames))


class RNN(SpectralRNN):
    """GRU layers over the frames of a feature, dense on the last output.

    Parameters
    ----------
    feature : str
        What the input is (`chroma` and `mfcc` in the thesis).
    outputs : int
        Length of the output vector.
    hidden : sequence of int
        Width of each layer.
    shape : (int, int), optional
        Frequency and time of a pooled or cropped input.
    """

    cell = nn.GRU

    def __init__(
        self,
        feature: str,
        outputs: int,
        *,
        hidden: Sequence[int] = (256, 256, 256),
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(feature, outputs, hidden, shape)


class LargeRNN(SpectralRNN):
    """LSTM layers over the frames of a feature, dense on the last output.

    Parameters as in `RNN`.
    """

    cell = nn.LSTM

    def __init__(
        self,
        feature: str,
        outputs: int,
        *,
        hidden: Sequence[int] = (256, 512, 1024),
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(feature, outputs, hidden, shape)
