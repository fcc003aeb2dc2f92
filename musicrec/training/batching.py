"""The order of training rows: shuffled each epoch from the seed, whatever the number of workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np


def epoch_order(groups: Sequence[np.ndarray], seed: int, epoch: int, window: int) -> np.ndarray:
    """All rows once, shuffled.

    Rows that are stored together (a Parquet row group) are read together: the groups are permuted,
    and rows are mixed among ``window`` neighbouring groups at a time. With a window of all groups
    this is a uniform permutation.

    Parameters
    ----------
    groups
        Arrays of row numbers.
    window
        How many groups a worker can hold at once.
    """
    generator = np.random.default_rng([seed, epoch])
    permuted = generator.permutation(len(groups))
    mixed = []
    for start in range(0, len(groups), window):
        rows = np.concatenate([groups[group] for group in permuted[start : start + window]])
        mixed.append(generator.permutation(rows))
    return np.concatenate(mixed) if mixed else np.empty(0, np.int64)


def batches(order: np.ndarray, batch_size: int, rank: int, workers: int) -> Iterator[np.ndarray]:
    """Yield one worker's rows of each global batch of ``batch_size``.

    All workers take the same number of batches with equally many rows, as gradient averaging needs:
    where the last batch does not divide, its remainder waits for another epoch's order.
    """
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        batch = batch[: len(batch) // workers * workers]
        if len(batch):
            yield batch[rank::workers]


def shard(rows: np.ndarray, batch_size: int, rank: int, workers: int) -> Iterator[np.ndarray]:
    """Yield one worker's rows when each row is read once, in any order (validation, prediction)."""
    mine = rows[rank::workers]
    for start in range(0, len(mine), batch_size):
        yield mine[start : start + batch_size]
