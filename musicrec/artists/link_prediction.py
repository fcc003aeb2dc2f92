"""Untrained scores of how likely two artists are related, in sparse blocks.

The baselines of held-out relations: common neighbours and Adamic-Adar (Liben-Nowell and Kleinberg
2003, The Link Prediction Problem for Social Networks), and personalised PageRank.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse

from musicrec.artists.graph import ArtistGraph
from musicrec.artists.held_out import HeldOut, scored_ndcg
from musicrec.artists.pagerank import adjacency, personalised_pagerank, transitions

RESTART = 0.15


def common_neighbours(links: scipy.sparse.csr_array, artists: np.ndarray) -> scipy.sparse.csr_array:
    """Return how many related artists each of ``artists`` (B,) shares with each artist, (B, A)."""
    return links[artists] @ links


def adamic_adar(links: scipy.sparse.csr_array, artists: np.ndarray) -> scipy.sparse.csr_array:
    """Return the sums (B, A) of 1 / log(degree) over shared related artists."""
    # An artist that two others share has at least two relations.
    logarithms = np.log(links.sum(axis=1).clip(min=2)).astype(np.float32)
    return links[artists] @ scipy.sparse.diags_array(1 / logarithms) @ links


def baseline_scores(graph: ArtistGraph, held: HeldOut) -> dict[str, float]:
    """Return the NDCG of the held-out relations by each baseline, from the relations of ``graph``.

    The keys are titles for tables.
    """
    links = adjacency(graph)
    steps = transitions(links)
    scores = {
        "common neighbours": lambda artists: common_neighbours(links, artists),
        "Adamic-Adar": lambda artists: adamic_adar(links, artists),
        "PageRank": lambda artists: personalised_pagerank(steps, artists, RESTART),
    }
    return {name: scored_ndcg(graph, score, held) for name, score in scores.items()}
