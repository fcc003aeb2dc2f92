"""Lyrics: embedded words through LSTM layers (Whitell 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from .layers import initialise
from .rnn import RecurrentStack

PADDING = 0


class Lyrics(nn.Module):
    """Word embedding, LSTM layers, dense on the last output.

    The words' numbers are padded with 0 at the front. In the thesis the padding is a word like
    another (its vector is learned), so the output depends a little on the length of the batch's
    longest text.

    Parameters
    ----------
    outputs : int
        Length of the output vector.
    vocabulary : int
        Rows of the embedding table: all numbers that can occur, the padding among them.
    embedding_size : int
        Length of a word's vector.
    hidden : sequence of int
        Width of each LSTM layer.
    skip_padding : bool
        Start each text at its first word instead, so that its output does not depend on its batch.
        The thesis does not.
    """

    def __init__(
        self,
        outputs: int,
        *,
        vocabulary: int,
        embedding_size: int = 200,
        hidden: Sequence[int] = (256, 512, 1024),
        skip_padding: bool = False,
    ) -> None:
        super().__init__()
        if vocabulary < 1:
            raise ValueError(
                f"vocabulary={vocabulary} must be at least 1: the rows of the embedding table, "
                "the padding's included"
            )
        self.skip_padding = skip_padding
        self.embedding = nn.Embedding(vocabulary, embedding_size)
        self.recurrent = RecurrentStack(nn.LSTM, embedding_size, hidden)
        self.head = nn.Linear(hidden[-1], outputs)
        initialise(self)

    def forward(self, words: Tensor) -> Tensor:
        """(B, L) whole numbers, padded with 0 at the front -> (B, outputs)."""
        if words.ndim != 2 or words.shape[1] == 0:
            raise ValueError(
                f"input of shape {tuple(words.shape)} where (batch, length) with a length of at "
                "least 1 is expected"
            )
        if not self.skip_padding:
            return self.head(self.recurrent(self.embedding(words)))
        # A text without a word keeps one padding, for a packed sequence cannot be empty.
        padding = (words == PADDING).cumprod(dim=1).sum(dim=1).clamp(max=words.shape[1] - 1)
        positions = torch.arange(words.shape[1], device=words.device) + padding[:, None]
        at_front = words.gather(1, positions.clamp(max=words.shape[1] - 1))
        lengths = (words.shape[1] - padding).cpu()
        packed = pack_padded_sequence(
            self.embedding(at_front), lengths, batch_first=True, enforce_sorted=False
        )
        return self.head(self.recurrent(packed))
