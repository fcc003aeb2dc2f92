"""Exact nearest neighbours in blocks: the whole query x artist matrix is never in memory."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch.nn.functional import normalize

Metric = Literal["cosine", "euclidean"]
GROUP = 64  # neighbouring columns of which only the largest is looked at first


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
    """The ``k`` rows of ``table`` that are most similar to each query.

    One block of similarities takes ``block_rows * table_block_rows * 4`` bytes (64 MiB by default); beside the inputs and the result,
    memory is a small multiple of that. The work runs where ``table`` lies (CPU for NumPy), in its precision.

    Parameters
    ----------
    queries
        (Q, D); under ``cosine`` of any length, and a zero vector has similarity 0 to everything.
    table
        (A, D).
    k
        Neighbours wanted for each query.
    exclude
        (Q,) or (Q, E) rows of the table that are no candidates for that query, -1 for none; usually the query's own row.
    metric
        ``cosine``, or ``euclidean``: the negative squared distance.

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
        raise ValueError(f"queries {tuple(queries.shape)} and table {tuple(table.shape)}: both must be matrices of one width")
    excluded = _exclusions(exclude, len(queries), len(table)).to(table.device)
    fewest = len(table) - (_distinct(excluded).max().item() if excluded.numel() else 0)
    if not 1 <= k <= fewest:
        raise ValueError(f"k = {k}: a query has {fewest} candidates of {len(table)} rows: ask for 1 to {fewest}")

    best_indices = torch.empty((len(queries), 0), dtype=torch.int64, device=table.device)
    best_similarities = queries.new_empty((len(queries), 0))
    # The table's blocks outside, so that each is normalised once and not once for every block of queries.
    for table_start in range(0, len(table), table_block_rows):
        block = _prepared(table[table_start : table_start + table_block_rows], metric)
        width = min(k, best_indices.shape[1] + len(block))
        indices = torch.empty((len(queries), width), dtype=torch.int64, device=table.device)
        similarities = queries.new_empty((len(queries), width))
        for start in range(0, len(queries), block_rows):
            rows = slice(start, start + block_rows)
            similarity = _similarity(_prepared(queries[rows], metric), block, metric)
            _strike_out(similarity, excluded[rows] - table_start)
            values, columns = largest_columns(similarity, k)
            # What was found before has lower indices and stands first, so the stable sort keeps equal similarities by rising index.
            values, order = torch.cat((best_similarities[rows], values), dim=1).sort(dim=1, descending=True, stable=True)
            candidates = torch.cat((best_indices[rows], columns + table_start), dim=1)
            similarities[rows], indices[rows] = values[:, :width], candidates.gather(1, order[:, :width])
        best_indices, best_similarities = indices, similarities
    return best_indices.cpu().numpy(), best_similarities.float().cpu().numpy()


def largest_columns(similarity: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The ``k`` largest of each row (all, if there are fewer), in column order, of equal ones those with the lowest columns.

    Wide rows are first reduced to the largest of every ``GROUP`` columns: the ``k`` groups with the largest hold the row's ``k`` largest.

    Returns
    -------
    values, columns
        (Q, min(k, A)) of a matrix (Q, A).
    """
    width = similarity.shape[1]
    if width <= k:
        return similarity, torch.arange(width, device=similarity.device).expand_as(similarity)
    groups = width // GROUP
    if groups > 4 * k:
        maxima = similarity[:, : groups * GROUP].unflatten(1, (groups, GROUP)).amax(dim=2)
        # Rising group numbers, so that the candidates stand in column order.
        chosen = maxima.topk(k, dim=1).indices.sort(dim=1).values
        within = torch.arange(GROUP, device=similarity.device)
        rest = torch.arange(groups * GROUP, width, device=similarity.device).expand(len(similarity), -1)
        columns = torch.cat(((chosen[:, :, None] * GROUP + within).flatten(1), rest), dim=1)
        candidates = similarity.gather(1, columns)
        values, places = candidates.topk(k, dim=1)
        threshold = values[:, -1:]
        ambiguous = ((candidates >= threshold).sum(dim=1) > k) | ((maxima >= threshold).sum(dim=1) > k)
        places = columns.gather(1, places)
    else:
        values, places = similarity.topk(k, dim=1)
        ambiguous = (similarity >= values[:, -1:]).sum(dim=1) > k
    # topk picks any of the columns that tie for the last place; such rows are rare and are sorted whole.
    tied = torch.nonzero(ambiguous).squeeze(1)
    if len(tied):
        places[tied] = similarity[tied].sort(dim=1, descending=True, stable=True).indices[:, :k]
    places = places.sort(dim=1).values
    return similarity.gather(1, places), places


def _prepared(vectors: torch.Tensor, metric: Metric) -> torch.Tensor:
    return normalize(vectors, eps=torch.finfo(vectors.dtype).tiny) if metric == "cosine" else vectors


def _similarity(queries: torch.Tensor, block: torch.Tensor, metric: Metric) -> torch.Tensor:
    """(b, t)"""
    products = queries @ block.T
    if metric == "cosine":
        return products
    return products.mul_(2).sub_(block.square().sum(dim=1)).sub_(queries.square().sum(dim=1, keepdim=True))


def _strike_out(similarity: torch.Tensor, excluded: torch.Tensor) -> None:
    """Give the excluded columns (b, E) the similarity -infinity, as far as they lie within the block."""
    if excluded.numel():
        query, place = torch.nonzero((excluded >= 0) & (excluded < similarity.shape[1]), as_tuple=True)
        similarity[query, excluded[query, place]] = -torch.inf


def _exclusions(exclude: np.ndarray | None, queries: int, rows: int) -> torch.Tensor:
    """(Q, E) int64; E = 0 where nothing is excluded."""
    if exclude is None:
        return torch.empty((queries, 0), dtype=torch.int64)
    excluded = torch.as_tensor(np.asarray(exclude, dtype=np.int64))
    if excluded.ndim == 1:
        excluded = excluded[:, None]
    if excluded.ndim != 2 or len(excluded) != queries:
        raise ValueError(f"exclude {tuple(excluded.shape)}: give one row for each of the {queries} queries")
    if excluded.numel() and not -1 <= excluded.min() <= excluded.max() < rows:
        lowest, highest = int(excluded.min()), int(excluded.max())
        raise ValueError(f"exclude names rows {lowest} to {highest}: the table has rows 0 to {rows - 1}, and -1 stands for none")
    return excluded


def _distinct(excluded: torch.Tensor) -> torch.Tensor:
    """(Q,) how many different rows each query excludes."""
    ordered = excluded.sort(dim=1).values
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return (first & (ordered >= 0)).sum(dim=1)
