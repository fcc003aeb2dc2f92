"""Rank artists by the network's cosine together with neighbours' votes and popularity.

Two members stand next to the network: the artists related to those of the nearest training tracks
(votes), and how often other artists name an artist as related (popularity). Each member's scores
are standardised over the artists, so that a weight means the same for all of them; the network has
weight 1. A member of weight 0 takes no part.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import safetensors.numpy
import scipy.sparse
import torch
from torch.nn.functional import normalize

from musicrec.artists.neighbours import nearest_neighbours, ranked

VOTES, POPULARITY = "votes", "popularity"
# A ranking's files: its weights, and its arrays.
WEIGHTS_FILE, ARRAYS_FILE = "ranking.json", "ranking.safetensors"
FILES = (WEIGHTS_FILE, ARRAYS_FILE)
QUERIES = 64  # scored at a time: 100,000 artists take 26 MB for each member


class Ranked(NamedTuple):
    """The nearest artists of Q queries.

    Attributes
    ----------
    rows
        (Q, k) rows of the table, the best first.
    similarity
        (Q, k) their cosines.
    prior
        (Q, k) popularity's share of an artist's score, -1 to 1: its part divided by the sum of all
        members' absolute parts; negative where the artist is named less than others.
    """

    rows: np.ndarray
    similarity: np.ndarray
    prior: np.ndarray


@dataclass(frozen=True)
class Ranking:
    """The members next to the network, over A artists.

    Attributes
    ----------
    weights
        By member, ``VOTES`` and ``POPULARITY``.
    neighbours
        Training tracks that vote.
    voters, voter_artists
        (N, D) float32, the network's outputs of training tracks, and (N,) the rows of their
        artists.
    relations
        (A, A) sparse, 1 where the artist of the row names that of the column.
    columns
        (C,) the rows of the artists that are ranked; all A if None.
    """

    weights: dict[str, float]
    neighbours: int
    voters: np.ndarray
    voter_artists: np.ndarray
    relations: scipy.sparse.csr_array
    columns: np.ndarray | None = None

    def without(self, rows: np.ndarray) -> Ranking:
        """Return the ranking without the relations that name one of these artists (rows)."""
        keep = np.ones(self.relations.shape[0], np.float32)
        keep[rows] = 0
        kept = scipy.sparse.dia_array((keep[None], [0]), shape=self.relations.shape)
        remaining = scipy.sparse.csr_array(kept @ self.relations @ kept)
        remaining.eliminate_zeros()
        return dataclasses.replace(self, relations=remaining)

    def among(self, rows: np.ndarray) -> Ranking:
        """Return the ranking of these artists (rows); all artists' tracks vote."""
        return dataclasses.replace(self, columns=np.asarray(rows))

    def with_weights(self, weights: dict[str, float]) -> Ranking:
        """Return the ranking with other weights."""
        return dataclasses.replace(self, weights=weights)

    @cached_property
    def _lists(self) -> scipy.sparse.csr_array:
        """(A, C) whom a track of an artist votes for: the artist and those that it names."""
        own = scipy.sparse.eye_array(self.relations.shape[0], dtype=np.float32, format="csr")
        lists = scipy.sparse.csr_array(self.relations.astype(np.float32) + own)
        lists.data[:] = 1
        return lists if self.columns is None else lists[:, self.columns]

    @cached_property
    def popularity(self) -> np.ndarray:
        """(1, C) standardised logarithm of one plus how many artists name an artist."""
        named = np.asarray(self.relations.sum(axis=0), np.float32).ravel()
        named = named if self.columns is None else named[self.columns]
        return standardised(np.log1p(named)[None])

    def votes(self, vectors: np.ndarray) -> np.ndarray:
        """Return the standardised votes (Q, C) of the tracks nearest to vectors (Q, D)."""
        count = min(self.neighbours, len(self.voters))
        tracks, _ = nearest_neighbours(vectors, self.voters, count)
        artists = self.voter_artists[tracks]
        ones, ends = np.ones(artists.size, np.float32), np.arange(len(vectors) + 1) * count
        votes = scipy.sparse.csr_array(
            (ones, artists.ravel(), ends), shape=(len(vectors), self.relations.shape[0])
        )
        return standardised((votes @ self._lists).toarray())

    def rank(
        self,
        vectors: np.ndarray,
        table: np.ndarray | torch.Tensor,
        k: int,
        exclude: np.ndarray | None = None,
        popularity: bool = True,
    ) -> Ranked:
        """Return the ``k`` best artists for each vector (Q, D).

        Parameters
        ----------
        table
            (C, D) the embeddings of the ranked artists.
        exclude
            (Q,) a row of the table that is no candidate of the query, -1 for none.
        popularity
            Whether popularity takes part.
        """
        table = normalize(torch.as_tensor(table))
        weights = dict(self.weights) if popularity else {**self.weights, POPULARITY: 0.0}
        blocks = []
        for start in range(0, len(vectors), QUERIES):
            block = slice(start, start + QUERIES)
            excluded = None if exclude is None else exclude[block]
            blocks.append(self._rank_block(vectors[block], table, k, excluded, weights))
        return Ranked(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))

    def _rank_block(
        self,
        vectors: np.ndarray,
        table: torch.Tensor,
        k: int,
        exclude: np.ndarray | None,
        weights: dict[str, float],
    ) -> Ranked:
        queries = normalize(torch.as_tensor(vectors).to(table.device, table.dtype))
        cosine = (queries @ table.T).cpu().numpy()
        # By itself the cosine needs no scale, and keeps its last digits.
        parts = [standardised(cosine) if any(weights.values()) else cosine]
        if weights[VOTES]:
            parts.append(weights[VOTES] * self.votes(vectors))
        if weights[POPULARITY]:
            parts.append(np.broadcast_to(weights[POPULARITY] * self.popularity, cosine.shape))
        total = np.sum(parts, axis=0)
        if exclude is not None:
            own = np.flatnonzero(exclude >= 0)
            total[own, exclude[own]] = -np.inf
        rows = ranked(torch.from_numpy(total), k).numpy()
        prior = np.zeros(rows.shape, np.float32)
        if weights[POPULARITY]:  # the last part
            absolute = np.take_along_axis(np.sum(np.abs(parts), axis=0), rows, axis=1)
            prior = np.take_along_axis(parts[-1], rows, axis=1) / np.maximum(absolute, 1e-12)
        similarity = np.take_along_axis(cosine, rows, axis=1)
        return Ranked(rows, similarity, prior.astype(np.float32))

    def to_files(self) -> dict[str, bytes]:
        """Return the content of the ranking's files by name; vectors are kept as float16."""
        pairs = self.relations.tocoo()
        arrays = {
            "voters": self.voters.astype(np.float16),
            "voter_artists": self.voter_artists.astype(np.int32),
            "relations": np.stack([*pairs.coords]).astype(np.int32),
        }
        facts = {
            "weights": self.weights,
            "neighbours": self.neighbours,
            "artists": self.relations.shape[0],
        }
        return {
            WEIGHTS_FILE: json.dumps(facts, indent=1).encode(),
            ARRAYS_FILE: safetensors.numpy.save(arrays),
        }

    @classmethod
    def from_files(cls, read: Callable[[str], bytes]) -> Ranking:
        """Return the ranking whose files ``read`` returns by name."""
        facts, arrays = (
            json.loads(read(WEIGHTS_FILE)),
            safetensors.numpy.load(bytes(read(ARRAYS_FILE))),
        )
        return cls(
            facts["weights"],
            facts["neighbours"],
            arrays["voters"].astype(np.float32),
            arrays["voter_artists"].astype(np.int64),
            relation_matrix(arrays["relations"], facts["artists"]),
        )


def relation_matrix(pairs: np.ndarray, artists: int) -> scipy.sparse.csr_array:
    """Return the relations (A, A) of pairs (2, R), the rows of an artist and one that it names."""
    ones = np.ones(pairs.shape[1], np.float32)
    matrix = scipy.sparse.csr_array((ones, (pairs[0], pairs[1])), shape=(artists, artists))
    matrix.data[:] = 1
    return matrix


def standardised(scores: np.ndarray) -> np.ndarray:
    """Return each row (Q, C) with mean 0 and deviation 1; a constant row becomes zeros."""
    scores = np.asarray(scores, np.float32)
    centred = scores - scores.mean(axis=1, keepdims=True)
    deviation = centred.std(axis=1, keepdims=True)
    return centred / np.where(deviation > 1e-6, deviation, np.inf)
