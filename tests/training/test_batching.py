from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from musicrec.training.batching import batches, epoch_order, shard


def groups(sizes: tuple[int, ...]) -> list[np.ndarray]:
    edges = np.cumsum((0, *sizes))
    return [np.arange(start, stop) for start, stop in pairwise(edges)]


@pytest.mark.parametrize("window", [1, 2, 3, 100])
def test_every_row_comes_once_an_epoch(window: int) -> None:
    order = epoch_order(groups((3, 1, 8, 8, 5)), seed=0, epoch=0, window=window)
    assert sorted(order) == list(range(25))


def test_an_order_depends_on_the_seed_and_the_epoch_alone() -> None:
    orders = [
        epoch_order(groups((50, 50)), seed, epoch, 2).tolist()
        for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0))
    ]
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in orders}) == 3


@pytest.mark.parametrize("window", [1, 2, 3])
def test_no_more_groups_than_the_window_holds_are_read_at_a_time(window: int) -> None:
    order = epoch_order(groups((8,) * 6), seed=0, epoch=0, window=window)
    members = order // 8
    for start in range(0, 6, window):
        assert len(set(members[8 * start : 8 * (start + window)])) == min(window, 6 - start)


def test_groups_are_permuted_and_their_rows_mixed() -> None:
    order = epoch_order(groups((8,) * 20), seed=0, epoch=0, window=2)
    assert order[:16].tolist() != sorted(order[:16])
    first_groups = [
        sorted({*(order[start : start + 16] // 8).tolist()}) for start in range(0, 160, 16)
    ]
    assert first_groups != sorted(first_groups)


def test_a_window_of_all_groups_is_a_uniform_permutation() -> None:
    # Each of 6 rows in each of 6 places: 1000 times in 6000 epochs, with a deviation of 29.
    counts = np.zeros((6, 6))
    for epoch in range(6000):
        counts[np.arange(6), epoch_order(groups((1, 2, 3)), 0, epoch, 3)] += 1
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(6000 * 5 / 36)


def test_no_groups_are_no_rows() -> None:
    assert epoch_order([], 0, 0, 1).tolist() == []


def test_one_worker_takes_every_row_in_order() -> None:
    taken = list(batches(np.arange(10), 4, rank=0, workers=1))
    assert [batch.tolist() for batch in taken] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_workers_together_take_what_one_would(workers: int) -> None:
    order = np.random.default_rng(0).permutation(26)
    taken = [list(batches(order, 12, rank, workers)) for rank in range(workers)]
    assert len({len(of_rank) for of_rank in taken}) == 1
    for number, parts in enumerate(zip(*taken, strict=True)):
        assert len({len(part) for part in parts}) == 1
        whole = order[12 * number : 12 * (number + 1)]
        assert sorted(np.concatenate(parts)) == sorted(whole[: len(whole) // workers * workers])


def test_a_last_batch_smaller_than_the_workers_is_left_out() -> None:
    assert [
        [batch.tolist() for batch in batches(np.arange(9), 8, rank, 2)] for rank in range(2)
    ] == [[[0, 2, 4, 6]], [[1, 3, 5, 7]]]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_share_takes_every_row_once_over_the_workers(workers: int) -> None:
    rows = np.array([4, 8, 15, 16, 23, 42, 7])
    parts = [list(shard(rows, 2, rank, workers)) for rank in range(workers)]
    assert sorted(np.concatenate([np.concatenate(part) for part in parts])) == sorted(rows)
    assert max(len(batch) for part in parts for batch in part) <= 2


def test_a_worker_without_rows_has_no_share() -> None:
    assert list(shard(np.array([1]), 2, 1, 2)) == []
