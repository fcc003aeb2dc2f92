"""Exact nearest neighbours in blocks: the whole query x artist matrix is never in memory."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch.nn.functional import normalize

Metric = Literal["cosine", "euclidean"]
GROUP_COLUMNS = 64  # of which the maximum is taken before the largest are sought


def nearest_neighbours(
    queries: np.ndarray | torch.Tensor,
    table: np.ndarray | torch.Tensor,
    k: int,
    exclude: np.ndarray | None = None,
    *,
    metric: Metric = "cosine",
    block_rows: int = 1024,
    table_block_rows: int = 16384,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``k`` rows of ``table`` most similar to each query.

    One block of similarities takes ``block_rows * table_block_rows * 4`` bytes (64 MiB by default);
    beside the inputs and the result, memory is a small multiple of that. The work runs where
    ``table`` lies (CPU for NumPy), in its precision.

    Parameters
    ----------
    queries
        (Q, D) of any length; a zero vector has cosine 0 to everything.
    table
        (A, D).
    k
        Neighbours wanted for each query.
    exclude
        (Q,) or (Q, E) rows of the table that are no candidates for that query, -1 for none; usually
        the query's own row.
    metric
        What similarity is: the cosine, or minus the Euclidean distance.

    Returns
    -------
    indices : ndarray of int64
        (Q, k) rows of the table, by falling similarity, equal similarities by rising index.
    similarities : ndarray of float32
        (Q, k).

    Raises
    ------
    ValueError
        The dimensions differ, or a query has fewer than ``k`` candidates.
    """
    table = torch.as_tensor(table)
    queries = torch.as_tensor(queries).to(table.device, table.dtype)
    if queries.ndim != 2 or table.ndim != 2 or queries.shape[1] != table.shape[1]:
        raise ValueError(
            f"queries {tuple(queries.shape)} and table {tuple(table.shape)}: both must be "
            "matrices of one width"
        )
    excluded = _exclusions(exclude, len(queries), len(table)).to(table.device)
    fewest = len(table) - (_distinct(excluded).max().item() if excluded.numel() else 0)
    if not 1 <= k <= fewest:
        raise ValueError(
            f"k = {k}: a query has {fewest} candidates of {len(table)} rows: ask for 1 to {fewest}"
        )

    indices = np.empty((len(queries), k), dtype=np.int64)
    similarities = np.empty((len(queries), k), dtype=np.float32)
    for start in range(0, len(queries), block_rows):
        rows = slice(start, start + block_rows)
        best = _block_neighbours(queries[rows], table, k, excluded[rows], metric, table_block_rows)
        similarities[rows], indices[rows] = (part.cpu().numpy() for part in best)
    return indices, similarities


def _exclusions(exclude: np.ndarray | None, queries: int, rows: int) -> torch.Tensor:
    """(Q, E) int64; E = 0 where nothing is excluded."""
    if exclude is None:
        return torch.empty((queries, 0), dtype=torch.int64)
    excluded = torch.as_tensor(np.asarray(exclude, dtype=np.int64))
    if excluded.ndim == 1:
        excluded = excluded[:, None]
    if excluded.ndim != 2 or len(excluded) != queries:
        raise ValueError(
            f"exclude {tuple(excluded.shape)}: give one row for each of the {queries} queries"
        )
    if excluded.numel() and not -1 <= excluded.min() <= excluded.max() < rows:
        lowest, highest = int(excluded.min()), int(excluded.max())
        raise ValueError(
            f"exclude names rows {lowest} to {highest}: the table has rows 0 to {rows - 1}, and "
            "-1 stands for none"
        )
    return excluded


def _distinct(excluded: torch.Tensor) -> torch.Tensor:
    """(Q,) how many different rows each query excludes."""
    ordered = excluded.sort(dim=1).values
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return (first & (ordered >= 0)).sum(dim=1)


def _block_neighbours(
    queries: torch.Tensor,
    table: torch.Tensor,
    k: int,
    excluded: torch.Tensor,
    metric: Metric,
    table_block_rows: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Similarities and indices (b, k) of one block of queries (b, D)."""
    if metric == "cosine":
        queries = normalize(queries, eps=torch.finfo(table.dtype).tiny)
    best_similarities = queries.new_empty((len(queries), 0))
    best_indices = torch.empty((len(queries), 0), dtype=torch.int64, device=queries.device)
    for start in range(0, len(table), table_block_rows):
        block = table[start : start + table_block_rows]
        if metric == "cosine":
            similarity = queries @ normalize(block, eps=torch.finfo(table.dtype).tiny).T  # (b, t)
        else:
            similarity = torch.cdist(queries, block).neg_()
        if excluded.numel():
            query, column = torch.nonzero(
                (excluded >= start) & (excluded < start + len(block)), as_tuple=True
            )
            similarity[query, excluded[query, column] - start] = -torch.inf
        values, columns = largest(similarity, k)
        # What was found before has lower indices and stands first, so the stable sort keeps equal
        # similarities by rising index.
        values, order = torch.cat((best_similarities, values), dim=1).sort(
            dim=1, descending=True, stable=True
        )
        candidates = torch.cat((best_indices, columns + start), dim=1)
        best_similarities, best_indices = values[:, :k], candidates.gather(1, order[:, :k])
    return best_similarities, best_indices


def ranked(similarity: torch.Tensor, k: int) -> torch.Tensor:
    """Return the columns (b, k) of the ``k`` largest values of each row of (b, t), falling.

    Equal values are in the order of their columns.
    """
    values, columns = largest(similarity, k)
    return columns.gather(1, values.argsort(dim=1, descending=True, stable=True))


def largest(similarity: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ``k`` largest values of each row of (b, t) and their columns, in column order.

    All are returned if a row has fewer; of equal values, those with the lowest columns.

    Of a wide row, only the ``k`` groups of columns with the largest maxima are searched: no other
    can hold one of the ``k`` largest values.
    """
    if similarity.shape[1] <= k:
        return similarity, torch.arange(similarity.shape[1], device=similarity.device).expand_as(
            similarity
        )
    groups = similarity.shape[1] // GROUP_COLUMNS
    if groups < 4 * k:
        values, columns = similarity.topk(k, dim=1)
        ties = (similarity >= values[:, -1:]).sum(dim=1)
    else:
        grouped = similarity[:, : groups * GROUP_COLUMNS].unflatten(1, (groups, GROUP_COLUMNS))
        maxima = grouped.amax(dim=2)
        chosen = maxima.topk(k, dim=1).indices
        members = (
            chosen[:, :, None] * GROUP_COLUMNS
            + torch.arange(GROUP_COLUMNS, device=similarity.device)
        ).flatten(1)
        rest = torch.arange(groups * GROUP_COLUMNS, similarity.shape[1], device=similarity.device)
        members = torch.cat((members, rest.expand(len(members), -1)), dim=1)
        candidates = similarity.gather(1, members)
        values, places = candidates.topk(k, dim=1)
        columns = members.gather(1, places)
        # If a value as large as the last one lies in a group that was not chosen, then more than k
        # groups have such a maximum.
        ties = torch.maximum(
            (candidates >= values[:, -1:]).sum(dim=1), (maxima >= values[:, -1:]).sum(dim=1)
        )
    # topk picks any of the columns that tie for the last place; such rows are rare and are sorted
    # whole.
    tied = torch.nonzero(ties > k).squeeze(1)
    if len(tied):
        columns[tied] = similarity[tied].sort(dim=1, descending=True, stable=True).indices[:, :k]
    columns = columns.sort(dim=1).values
    return similarity.gather(1, columns), columns
