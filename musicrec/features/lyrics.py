"""Lyrics: from text to words to integers, padded in batches (Whitell 2019, LYRICS)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

PADDING = 0
# Mikolov et al. 2013, equation 5: words more frequent than this fraction are subsampled.
SUBSAMPLING_THRESHOLD = 1e-3

# Stage directions are short: [Chorus], {Verse 2}, (Produced by ...). A longer bracket is text.
_DIRECTION = re.compile(r"\[[^\[\]]{0,40}\]|\{[^{}]{0,40}\}|\([^()]{0,40}\)")
_REPEAT = re.compile(r"\b(?:x\s?\d+|\d+\s?x)\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, without stage directions and repeat marks."""
    return _WORD.findall(_REPEAT.sub(" ", _DIRECTION.sub(" ", text)).lower())


@dataclass(frozen=True)
class Vocabulary:
    """Words by descending frequency, as integers from 1; 0 is padding.

    Where the vocabulary was cut, the integer after the last word stands for all rarer words.

    Attributes
    ----------
    words
        The words of the vocabulary; ``words[i]`` is the integer ``i + 1``.
    shares
        Frequency of each among all words of the training texts.
    cut
        Whether the training texts had rarer words than these.
    """

    words: tuple[str, ...]
    shares: tuple[float, ...]
    cut: bool
    _index: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._index.update({word: index for index, word in enumerate(self.words, 1)})

    @property
    def rows(self) -> int:
        """Rows of the embedding table: the padding, the words, and the rarer words if any."""
        return 1 + len(self.words) + self.cut

    def encode(self, text: str) -> np.ndarray:
        """Return the words of a text as int64 integers (L,).

        Words outside the vocabulary become the rare word, or are omitted where nothing was cut.
        """
        rare = 1 + len(self.words) if self.cut else None
        numbers = [self._index.get(word, rare) for word in words(text)]
        return np.array([number for number in numbers if number is not None], dtype=np.int64)

    def drop_probabilities(self) -> np.ndarray:
        """Return the probability (rows,) of dropping each word from a training batch.

        It is 1 - sqrt(t / f), and at least 0.
        """
        share = np.array([1e-12, *self.shares, *([1e-12] if self.cut else [])])
        return np.clip(1 - np.sqrt(SUBSAMPLING_THRESHOLD / share), 0, None)


def build_vocabulary(texts: Iterable[str], maximum_words: int | None = None) -> Vocabulary:
    """Build the vocabulary of the training texts; equally frequent words in alphabetical order."""
    counts = Counter(word for text in texts for word in words(text))
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    kept = ordered if maximum_words is None else ordered[:maximum_words]
    total = sum(counts.values())
    return Vocabulary(
        tuple(kept), tuple(counts[word] / total for word in kept), cut=len(kept) < len(ordered)
    )


def subsample(numbers: np.ndarray, drop: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Drop frequent words at random; keep the whole text where nothing would be left."""
    kept = numbers[generator.random(len(numbers)) >= drop[numbers]]
    return kept if len(kept) else numbers


def pad(texts: Sequence[np.ndarray]) -> Tensor:
    """Return texts as one int64 tensor (B, longest), padded at the front; longest is at least 1."""
    import torch  # not needed to plan a job, and slow to import
    from torch.nn.utils.rnn import pad_sequence

    batch = pad_sequence(
        [torch.from_numpy(text) for text in texts], batch_first=True, padding_side="left"
    )
    return batch if batch.shape[1] else batch.new_full((len(texts), 1), PADDING)
