from __future__ import annotations

import numpy as np
import pytest
import torch

from musicrec.artists.neighbours import largest, nearest_neighbours


def brute_force(queries, table, k, exclude=None):
    unit = [
        rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
        for rows in (queries, table)
    ]
    similarity = unit[0] @ unit[1].T
    if exclude is not None:
        for query, rows in enumerate(exclude.reshape(len(queries), -1)):
            similarity[query, rows[rows >= 0]] = -np.inf
    indices = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return indices, np.take_along_axis(similarity, indices, axis=1)


@pytest.mark.parametrize("block_rows", [1, 7, 1000])
@pytest.mark.parametrize("table_block_rows", [5, 64, 1000])
def test_equals_brute_force_whatever_the_blocks(block_rows, table_block_rows):
    generator = np.random.default_rng(0)
    table = generator.normal(size=(203, 24)).astype(np.float32)
    queries = generator.normal(size=(31, 24)).astype(np.float32) * generator.uniform(
        0.01, 100, size=(31, 1)
    ).astype(np.float32)
    exclude = np.stack(
        (generator.integers(-1, 203, size=31), generator.integers(-1, 203, size=31)), axis=1
    )
    indices, similarities = nearest_neighbours(
        queries, table, 17, exclude, block_rows=block_rows, table_block_rows=table_block_rows
    )
    expected, values = brute_force(queries, table, 17, exclude)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(similarities, values, atol=1e-6)
    assert indices.dtype == np.int64
    assert similarities.dtype == np.float32


@pytest.mark.parametrize("table_block_rows", [3, 10, 1000])
def test_equal_similarities_come_by_rising_index(table_block_rows):
    # Unit axes, so that similarities are exactly 1, 0 and -1 and nearly all tie.
    table = np.eye(4, dtype=np.float32)[np.random.default_rng(1).integers(4, size=100)]
    queries = np.concatenate((np.eye(4), -np.eye(4), np.zeros((1, 4)))).astype(np.float32)
    indices, similarities = nearest_neighbours(
        queries, table, 40, table_block_rows=table_block_rows
    )
    expected = np.argsort(-(queries @ table.T), axis=1, kind="stable")[:, :40]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(similarities[8], np.zeros(40))


@pytest.mark.parametrize("levels", [2, 50, 10**6])
def test_the_largest_of_wide_rows_are_found_among_groups_with_ties_and_all(levels):
    similarity = (
        np.random.default_rng(4).integers(levels, size=(40, 64 * 30 + 7)).astype(np.float32)
    )
    values, columns = largest(torch.from_numpy(similarity), 7)
    expected = np.sort(np.argsort(-similarity, axis=1, kind="stable")[:, :7], axis=1)
    np.testing.assert_array_equal(columns, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(similarity, expected, axis=1))


def test_euclidean_neighbours_equal_brute_force():
    generator = np.random.default_rng(5)
    table = (generator.normal(size=(203, 24)) * generator.uniform(0.1, 3, size=(203, 1))).astype(
        np.float32
    )
    distance = np.linalg.norm(table[:31, None].astype(np.float64) - table, axis=2)
    np.fill_diagonal(distance, np.inf)
    indices, similarities = nearest_neighbours(
        table[:31], table, 9, np.arange(31), metric="euclidean", table_block_rows=64
    )
    np.testing.assert_array_equal(indices, np.argsort(distance, axis=1)[:, :9])
    np.testing.assert_allclose(similarities, -np.sort(distance, axis=1)[:, :9], atol=1e-4)


def test_every_candidate_can_be_asked_for_and_not_one_more():
    table = np.random.default_rng(2).normal(size=(6, 3)).astype(np.float32)
    own = np.arange(6)
    indices, _ = nearest_neighbours(table, table, 5, own)
    assert [sorted([*row, query]) for query, row in enumerate(indices.tolist())] == [
        list(range(6))
    ] * 6
    with pytest.raises(ValueError, match="k = 6: a query has 5 candidates"):
        nearest_neighbours(table, table, 6, own)
    with pytest.raises(ValueError, match="k = 0"):
        nearest_neighbours(table, table, 0)
    twice = np.stack((own, own), axis=1)
    np.testing.assert_array_equal(nearest_neighbours(table, table, 5, twice)[0], indices)


def test_no_queries_give_no_rows():
    indices, similarities = nearest_neighbours(
        np.zeros((0, 3), np.float32), np.eye(3, dtype=np.float32), 2, np.zeros(0, np.int64)
    )
    assert indices.shape == similarities.shape == (0, 2)


def test_wrong_inputs_are_named():
    table = np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match=r"queries \(3, 2\) and table \(3, 3\)"):
        nearest_neighbours(table[:, :2], table, 1)
    with pytest.raises(ValueError, match="exclude names rows 0 to 3"):
        nearest_neighbours(table, table, 1, np.array([0, 1, 3]))
    with pytest.raises(ValueError, match=r"exclude \(2, 1\)"):
        nearest_neighbours(table, table, 1, np.array([0, 1]))


def test_memory_stays_a_small_multiple_of_one_block(monkeypatch):
    largest = 0
    real = torch.Tensor.__matmul__

    def watched(left, right):
        nonlocal largest
        product = real(left, right)
        largest = max(largest, product.numel())
        return product

    monkeypatch.setattr(torch.Tensor, "__matmul__", watched)
    table = np.random.default_rng(3).normal(size=(1000, 8)).astype(np.float32)
    nearest_neighbours(table, table, 5, block_rows=50, table_block_rows=200)
    assert largest == 50 * 200
