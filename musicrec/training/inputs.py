"""Model inputs of training rows: spectrograms and images from Parquet blocks, lyrics from text."""

from __future__ import annotations

import abc
import functools
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from musicrec.extraction.manifest import ROW_GROUP_ROWS
from musicrec.features.artwork import decode_png
from musicrec.features.lyrics import Vocabulary, pad, subsample
from musicrec.features.reader import decode_feature, open_part, read_row_group
from musicrec.specs.submodel import SubmodelSpec
from musicrec.training.augmentation import masked

OPEN_FILES = 64


class Rows(Protocol):
    """Inputs of numbered rows."""

    def groups(self, rows: np.ndarray) -> Sequence[np.ndarray]:
        """Return the given rows in groups, one array for those that are read together."""

    def window(self) -> int:
        """How many groups can be held in memory at once."""

    def read(self, rows: np.ndarray, generator: np.random.Generator | None) -> tuple[Any, ...]:
        """Return the model's arguments for these rows; augmented where a generator is given."""


class StoredRows(abc.ABC):
    """Rows of Parquet blocks, read by row group and cached, prepared, as far as memory allows.

    Parameters
    ----------
    modality
        The feature, vector or picture: the name of its column.
    parts, places
        (N,) the URI of each row's part, and its row in it.
    cache_bytes
        Memory for prepared inputs.
    """

    def __init__(
        self,
        modality: str,
        parts: Sequence[str],
        places: np.ndarray,
        cache_bytes: float,
        bytes_of_row: int,
    ) -> None:
        self.modality, self.parts, self.places = modality, parts, places
        self._capacity = max(2, int(cache_bytes / (bytes_of_row * ROW_GROUP_ROWS)))
        self._cache: OrderedDict[tuple[str, int], list[np.ndarray | None]] = OrderedDict()
        self._file = functools.lru_cache(maxsize=OPEN_FILES)(open_part)

    def groups(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return the given rows in groups, one array for those that are read together."""
        together: dict[tuple[str, int], list[int]] = {}
        for row in rows.tolist():
            together.setdefault(self._group(row), []).append(row)
        return [np.array(members) for members in together.values()]

    def window(self) -> int:
        """Return how many groups can be held in memory at once."""
        return self._capacity

    def arrays(self, rows: np.ndarray) -> np.ndarray:
        """Return the prepared inputs of rows, stacked."""
        return np.stack(
            [
                self._load(self._group(row))[self.places[row] % ROW_GROUP_ROWS]
                for row in rows.tolist()
            ]
        )

    def _group(self, row: int) -> tuple[str, int]:
        return self.parts[row], int(self.places[row]) // ROW_GROUP_ROWS

    def _load(self, group: tuple[str, int]) -> list[np.ndarray | None]:
        if group in self._cache:
            self._cache.move_to_end(group)
            return self._cache[group]
        part, number = group
        prepared = self.prepared(read_row_group(self._file(part), number, self.modality))
        self._cache[group] = prepared
        if len(self._cache) > self._capacity:
            self._cache.popitem(last=False)
        return prepared

    @abc.abstractmethod
    def prepared(self, table: pa.Table) -> list[np.ndarray | None]:
        """Return the model's input for each row of a row group; None where the row failed."""


class FeatureRows(StoredRows):
    """A submodel's spectrograms (B, 1, F, T), vectors (B, 1, D, 1) or pictures (B, 3, 32, 32)."""

    def __init__(
        self,
        spec: SubmodelSpec,
        parts: Sequence[str],
        places: np.ndarray,
        cache_bytes: float,
        masks: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        super().__init__(
            spec.feature,
            parts,
            places,
            cache_bytes,
            bytes_of_row=4 * int(np.prod(spec.input_shape())),
        )
        self.spec, self.masks = spec, masks

    def prepared(self, table: pa.Table) -> list[np.ndarray | None]:
        """Return the model's input for each row of a row group; None where the row failed."""
        return [
            None if decoded is None else self.spec.prepare(*decoded)
            for decoded in decode_feature(table, self.spec.feature)
        ]

    def read(self, rows: np.ndarray, generator: np.random.Generator | None) -> tuple[Tensor]:
        """Return the model's arguments for these rows; augmented where a generator is given."""
        batch = torch.from_numpy(self.arrays(rows))
        if not self.spec.reads_pictures:
            batch = batch.unsqueeze(1)  # (B, F, T) -> (B, 1, F, T)
        if generator is not None and any(self.masks):
            draws = torch.Generator().manual_seed(int(generator.integers(2**62)))
            batch = masked(batch, *self.masks, draws)
        return (batch,)


class ArtworkRows(StoredRows):
    """Pictures (B, 3, pixels, pixels) in [0, 1]."""

    def __init__(
        self,
        modality: str,
        pixels: int,
        parts: Sequence[str],
        places: np.ndarray,
        cache_bytes: float,
    ) -> None:
        super().__init__(modality, parts, places, cache_bytes, bytes_of_row=3 * pixels * pixels)

    def prepared(self, table: pa.Table) -> list[np.ndarray | None]:
        """Return the model's input for each row of a row group; None where the row failed."""
        return [
            None if cell is None else decode_png(cell)
            for cell in table.column(self.modality).to_pylist()
        ]

    def read(self, rows: np.ndarray, generator: np.random.Generator | None) -> tuple[Tensor]:
        """Return the model's arguments for these rows; augmented where a generator is given."""
        return (pictures(self.arrays(rows)),)


def pictures(batch: np.ndarray) -> Tensor:
    """uint8 pictures (B, H, W, 3) as the model reads them: float32 (B, 3, H, W) in [0, 1]."""
    return (
        torch.from_numpy(np.require(batch, requirements="W"))
        .permute(0, 3, 1, 2)
        .contiguous()
        .float()
        / 255
    )


class LyricsRows:
    """Texts as integers (B, L), zeros at the front; frequent words are thinned out in training."""

    def __init__(self, vocabulary: Vocabulary, texts: Sequence[str]) -> None:
        self.numbers = [vocabulary.encode(text) for text in texts]
        self.drop = vocabulary.drop_probabilities()

    def groups(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return the given rows in groups, one array for those that are read together."""
        return [rows]

    def window(self) -> int:
        """Return how many groups can be held in memory at once."""
        return 1

    def read(self, rows: np.ndarray, generator: np.random.Generator | None) -> tuple[Tensor]:
        """Return the model's arguments for these rows; augmented where a generator is given."""
        texts = [self.numbers[row] for row in rows.tolist()]
        if generator is not None:
            texts = [subsample(numbers, self.drop, generator) for numbers in texts]
        return (pad(texts),)
