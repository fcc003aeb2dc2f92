"""Lyrics: text -> words -> integers (thesis section 2, Lyrics)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

PADDING = 0
# Mikolov et al. 2013, equation 5: words more frequent than this share are thinned out.
SUBSAMPLING_THRESHOLD = 1e-3

# Stage directions are short: [Chorus], {Verse 2}, (Produced by ...); a longer bracket is part of the text.
_DIRECTION = re.compile(r"\[[^\[\]]{0,40}\]|\{[^{}]{0,40}\}|\([^()]{0,40}\)")
_REPEAT = re.compile(r"\b(?:x\s?\d+|\d+\s?x)\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")


def words(text: str) -> list[str]:
    """The words of a text in lower case, without stage directions and repeat marks."""
    return _WORD.findall(_REPEAT.sub(" ", _DIRECTION.sub(" ", text)).lower())


@dataclass(frozen=True)
class Vocabulary:
    """Words by falling frequency, integers from 1; 0 pads; where the vocabulary was cut, the integer past it stands for rare words.

    Attributes
    ----------
    words
        The known words; ``words[i]`` is the integer ``i + 1``.
    shares
        Share of each in all words of the training texts.
    cut
        Whether rarer words than these were seen.
    """

    words: tuple[str, ...]
    shares: tuple[float, ...]
    cut: bool
    _index: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._index.update({word: index for index, word in enumerate(self.words, 1)})

    @property
    def rows(self) -> int:
        """Rows of the embedding table: the padding, the words, and the rare ones if there are any."""
        return 1 + len(self.words) + self.cut

    def encode(self, text: str) -> np.ndarray:
        """int64 integers (L,) of the words of a text; unknown words are the rare one, or left out where nothing was cut."""
        rare = 1 + len(self.words) if self.cut else None
        numbers = [self._index.get(word, rare) for word in words(text)]
        return np.array([number for number in numbers if number is not None], dtype=np.int64)

    def drop_probabilities(self) -> np.ndarray:
        """Probability (rows,) with which each word is left out of a training batch: 1 - sqrt(t / f), never below 0."""
        share = np.array([1e-12, *self.shares, *([1e-12] if self.cut else [])])
        return np.clip(1 - np.sqrt(SUBSAMPLING_THRESHOLD / share), 0, None)


def build_vocabulary(texts: Iterable[str], maximum_words: int | None = None) -> Vocabulary:
    """The vocabulary of the training texts; equally frequent words stand in alphabetical order."""
    counts = Counter(word for text in texts for word in words(text))
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    kept = ordered if maximum_words is None else ordered[:maximum_words]
    total = sum(counts.values())
    return Vocabulary(
        tuple(kept), tuple(counts[word] / total for word in kept), cut=len(kept) < len(ordered)
    )


def subsample(numbers: np.ndarray, drop: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A text without the frequent words that this draw leaves out; the whole text where nothing would be left."""
    kept = numbers[generator.random(len(numbers)) >= drop[numbers]]
    return kept if len(kept) else numbers


def pad(texts: Sequence[np.ndarray]) -> np.ndarray:
    """Texts as one int64 array (B, longest), zeros at the front."""
    longest = max(1, *map(len, texts))
    batch = np.full((len(texts), longest), PADDING, dtype=np.int64)
    for row, numbers in zip(batch, texts, strict=True):
        row[longest - len(numbers) :] = numbers
    return batch
