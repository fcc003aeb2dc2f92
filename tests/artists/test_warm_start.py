from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from small_settings import FULL_BATCH

from musicrec.artists.embedding import EmbeddingResult, train_embeddings
from musicrec.artists.graph import ArtistGraph, build_graph
from musicrec.artists.quality import related_jaccard
from musicrec.artists.settings import Stage
from musicrec.artists.warm_start import Anchors, WarmStart, starting_table

NEW = 30
SETTINGS = dataclasses.replace(
    FULL_BATCH,
    stages=(Stage(learning_rate=3e-2, artists_per_step=1, patience=30, maximum_passes=60),),
)
MINI_BATCH = dataclasses.replace(
    SETTINGS,
    full_batch=False,
    select_by="loss",
    stages=(Stage(learning_rate=1e-2, artists_per_step=32, patience=9, maximum_passes=4),),
)


@pytest.fixture(scope="module")
def earlier(graph: ArtistGraph) -> tuple[ArtistGraph, EmbeddingResult]:
    """Return the graph without its last artists, and its embeddings."""
    known = (graph.heads < len(graph) - NEW) & (graph.tails < len(graph) - NEW)
    names = np.array(graph.artist_ids)
    smaller = build_graph(
        names[graph.heads[known]].tolist(),
        names[graph.tails[known]].tolist(),
        graph.ranks[known].tolist(),
    )
    return smaller, train_embeddings(smaller, SETTINGS)


def warm(earlier: tuple[ArtistGraph, EmbeddingResult], **limits: float) -> WarmStart:
    smaller, result = earlier
    return WarmStart(
        smaller.artist_ids, result.vectors, weight=result.weight, bias=result.bias, **limits
    )


def test_new_artists_find_their_places_and_the_known_ones_keep_theirs(graph, earlier):
    smaller, old = earlier
    known, new = graph.positions(smaller.artist_ids), np.arange(len(graph) - NEW, len(graph))
    cold = train_embeddings(graph, SETTINGS)
    for minimum in (1.0, 0.95):
        result = train_embeddings(graph, SETTINGS, start=warm(earlier, minimum_cosine=minimum))
        cosines = np.sum(result.vectors[known] * old.vectors, axis=1)
        assert cosines.min() > minimum - 1e-5
        assert result.drift.artists == len(smaller) == len(graph) - NEW
        assert result.drift.worst_cosine == pytest.approx(cosines.min(), abs=1e-6)
        assert result.drift.mean_cosine == pytest.approx(cosines.mean(), abs=1e-6)
        assert related_jaccard(graph, result.vectors, new) > 0.8 * related_jaccard(
            graph, cold.vectors, new
        )
        assert related_jaccard(graph, result.vectors) > 0.9 * related_jaccard(graph, cold.vectors)
    assert result.drift.worst_cosine < 0.96, "the limit is used"
    assert np.sum(cold.vectors[known] * old.vectors, axis=1).mean() < 0.9, (
        "without a start, directions are others each time"
    )


def test_without_a_limit_the_known_artists_may_go(graph, earlier):
    free = train_embeddings(
        graph,
        dataclasses.replace(SETTINGS, select_by="loss"),
        start=warm(earlier, minimum_cosine=-1),
    )
    assert free.drift.worst_cosine < 0.9


@pytest.mark.parametrize("lazy", [False, True])
def test_a_continued_warm_start_equals_the_uninterrupted_one_bit_for_bit(graph, earlier, lazy):
    settings, start, states = dataclasses.replace(MINI_BATCH, lazy=lazy), warm(earlier), []
    whole = train_embeddings(
        graph, settings, start=start, on_pass=lambda progress: states.append(save(progress.state()))
    )
    assert whole.drift.worst_cosine == pytest.approx(0.95, abs=1e-5)
    continued = train_embeddings(graph, settings, load(states[1]), start=start)
    np.testing.assert_array_equal(continued.vectors, whole.vectors)
    assert continued.drift == whole.drift
    with pytest.raises(
        ValueError, match=r"seed, known artists\) = .* 270\); this training has .* 0\)"
    ):
        train_embeddings(graph, settings, load(states[1]))


def test_places_spread_from_the_known_artists_along_relations():
    # a is known; a - b - c is a chain, d and e know only each other.
    graph = build_graph(["a", "c", "d"], ["b", "b", "e"], [1, 1, 1])
    anchors = Anchors(
        graph,
        WarmStart(["gone", "a"], np.array([[0, 1.0, 0, 0], [4.0, 0, 0, 0]])),
        torch.device("cpu"),
    )
    drawn = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    table = starting_table(graph, anchors, drawn)
    torch.testing.assert_close(table.norm(dim=1), torch.ones(5))
    assert anchors.rows.tolist() == [0]
    assert torch.equal(table[0], torch.tensor([1.0, 0, 0, 0]))
    assert table[0] @ table[1] > 0.99 > table[0] @ drawn[1] / drawn[1].norm()
    assert table[1] @ table[2] > 0.99
    torch.testing.assert_close(table[3:], drawn[3:] / drawn[3:].norm(dim=1, keepdim=True))


def test_what_left_its_cone_is_brought_to_the_edge_with_its_length():
    graph = build_graph(["a", "b"], ["b", "c"], [1, 1])
    anchors = Anchors(
        graph,
        WarmStart(["c", "a"], np.eye(2, dtype=np.float32), minimum_cosine=0.8),
        torch.device("cpu"),
    )
    table = torch.tensor([[2.0, 0.0], [-1.0, 0.0], [3.0, 4.0]])
    anchors.hold(table, torch.tensor([1, 2]))
    torch.testing.assert_close(table, torch.tensor([[2.0, 0.0], [-1.0, 0.0], [4.0, 3.0]]))
    anchors.hold(table)
    torch.testing.assert_close(table, torch.tensor([[1.2, 1.6], [-1.0, 0.0], [4.0, 3.0]]))


def test_a_start_that_cannot_be_is_named(graph):
    vectors = np.ones((2, 32), dtype=np.float32)
    with pytest.raises(ValueError, match="1 artists and vectors"):
        WarmStart(["a"], vectors)
    with pytest.raises(ValueError, match="minimum_cosine 2"):
        WarmStart(["a", "b"], vectors, minimum_cosine=2)
    with pytest.raises(ValueError, match="zero or not finite"):
        WarmStart(["a", "b"], 0 * vectors)
    with pytest.raises(ValueError, match="names an artist twice"):
        train_embeddings(graph, SETTINGS, start=WarmStart([graph.artist_ids[0]] * 2, vectors))
    with pytest.raises(ValueError, match="warm start of 16 dimensions, and the settings have 32"):
        train_embeddings(graph, SETTINGS, start=WarmStart(graph.artist_ids[:2], vectors[:, :16]))
