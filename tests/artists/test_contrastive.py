"""The contrastive objective against an independent computation, and training by it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from small_settings import CONTRASTIVE

from musicrec.artists.batching import near_steps, random_steps
from musicrec.artists.contrastive import Batch, contrastive_loss_and_gradient, draw_batch
from musicrec.artists.embedding import train_embeddings
from musicrec.artists.quality import related_jaccard
from musicrec.artists.settings import EmbeddingSettings, Stage


def similarity_and_slopes(x, y, metric):
    """Similarity of two vectors and its gradients by both."""
    if metric == "euclidean":
        return -sum((x - y) ** 2) / 2, y - x, x - y
    length_x, length_y = math.sqrt(sum(x * x)), math.sqrt(sum(y * y))
    cosine = sum(x * y) / (length_x * length_y)
    return (
        cosine,
        y / (length_x * length_y) - cosine * x / length_x**2,
        x / (length_x * length_y) - cosine * y / length_y**2,
    )


def one_by_one(table, graph, heads, candidates, temperature, rank_exponent, metric):
    """Loss and gradient summed in Python over relations and candidates, in float64."""
    loss, gradient, total = 0.0, np.zeros_like(table), 0.0
    for head in heads:
        related = graph.related_sets[head].tolist()
        others = [row for row in candidates if row != head and row not in related]
        found = {
            row: similarity_and_slopes(table[head], table[row], metric)
            for row in [*others, *related]
        }
        for rank, tail in enumerate(related, start=1):
            weight = rank**-rank_exponent
            exponentials = {row: math.exp(found[row][0] / temperature) for row in [*others, tail]}
            whole = sum(exponentials.values())
            loss -= weight * math.log(exponentials[tail] / whole)
            total += weight
            for row, exponential in exponentials.items():
                slope = weight * (exponential / whole - (row == tail)) / temperature
                gradient[head] += slope * found[row][1]
                gradient[row] += slope * found[row][2]
    return loss / total, gradient / total


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_loss_and_gradient_equal_a_computation_one_relation_at_a_time(
    graph, metric, dtype, tolerance
):
    generator = np.random.default_rng(0)
    table = generator.uniform(-0.3, 0.3, size=(len(graph), 20))
    heads = generator.permutation(len(graph))[:12]
    batch = draw_batch(graph, heads, 40, 0.5, generator)
    temperature = 0.5
    found = contrastive_loss_and_gradient(
        torch.from_numpy(table).to(dtype), batch, temperature, metric
    )
    loss, expected = one_by_one(
        table, graph, heads.tolist(), batch.candidates.tolist(), temperature, 0.5, metric
    )
    assert found.loss.item() == pytest.approx(loss, abs=tolerance)
    whole = np.zeros_like(table)
    whole[found.rows] = found.vectors.double().numpy()
    np.testing.assert_allclose(whole, expected, atol=tolerance)
    assert np.abs(expected).max() > 1000 * tolerance


def test_candidates_are_the_heads_all_related_artists_and_uniform_ones(graph):
    generator = np.random.default_rng(1)
    heads = np.array([7, 3, 200])
    batch = draw_batch(graph, heads, 50, 1.0, generator)
    candidates = batch.candidates.numpy()
    assert candidates[batch.heads].tolist() == heads.tolist()
    pairs = list(
        zip(
            heads[batch.relation_heads].tolist(),
            candidates[batch.relation_tails].tolist(),
            strict=True,
        )
    )
    assert pairs == [
        (head, tail) for head in heads.tolist() for tail in graph.related_sets[head].tolist()
    ]
    assert np.unique(candidates).tolist() == candidates.tolist()
    needed = {*heads.tolist(), *(tail for _, tail in pairs)}
    assert needed < {*candidates.tolist()}
    assert len(candidates) > len(needed) + 25
    ranks = np.concatenate([np.arange(1, graph.degrees[head] + 1) for head in heads])
    np.testing.assert_allclose(batch.weights, 1 / ranks / np.sum(1 / ranks), rtol=1e-6)


def test_a_zero_row_has_no_gradient():
    table = torch.tensor([[0.0, 0.0], [3.0, 4.0], [1.0, 0.0]])
    batch = Batch(
        torch.arange(3), torch.tensor([0]), torch.tensor([0]), torch.tensor([1]), torch.ones(1)
    )
    found = contrastive_loss_and_gradient(table, batch, 0.05)
    assert found.loss.item() == pytest.approx(math.log(2))
    assert torch.isfinite(found.vectors).all()
    assert not found.vectors[0].any()


def test_a_head_that_is_related_to_all_candidates_learns_nothing():
    table = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    batch = Batch(
        torch.arange(2), torch.tensor([0]), torch.tensor([0]), torch.tensor([1]), torch.ones(1)
    )
    found = contrastive_loss_and_gradient(table, batch, 0.05)
    assert found.loss.item() == 0
    assert torch.equal(found.vectors, torch.zeros(2, 2))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"steps": "near", "initial": "spread"},
        {"metric": "euclidean"},
        {"rank_exponent": 0.5, "decay": "linear"},
    ],
)
def test_it_finds_more_of_the_planted_relations_than_the_thesis_objective(
    graph, planted, by_the_thesis, changes
):
    settings = dataclasses.replace(CONTRASTIVE, **changes)
    result = train_embeddings(graph, settings)
    found = related_jaccard(graph, result.vectors, metric=settings.metric)
    assert found == pytest.approx(np.nanmax(result.jaccard), abs=0.005)
    assert found > max(by_the_thesis.jaccard) + 0.1
    assert found > related_jaccard(graph, planted.latent)
    lengths = np.linalg.norm(result.vectors, axis=1)
    assert (lengths.std() > 0.01) == (settings.metric == "euclidean")


def test_a_continued_run_equals_the_uninterrupted_one_bit_for_bit(graph):
    stages = (Stage(learning_rate=1e-2, artists_per_step=64, patience=9, maximum_passes=4),)
    settings, states = (
        dataclasses.replace(CONTRASTIVE, stages=stages, steps="near", decay="linear"),
        [],
    )
    whole = train_embeddings(
        graph, settings, on_pass=lambda progress: states.append(save(progress.state()))
    )
    continued = train_embeddings(graph, settings, load(states[1]))
    np.testing.assert_array_equal(continued.vectors, whole.vectors)
    np.testing.assert_array_equal(continued.jaccard, whole.jaccard)


def test_a_training_ends_when_it_is_told_to(graph):
    result = train_embeddings(graph, CONTRASTIVE, on_pass=lambda progress: progress.passes == 3)
    assert len(result.loss) == 3
    assert result.best_pass == np.argmax(result.jaccard)


def test_every_step_order_takes_each_artist_once(planted):
    artists = np.arange(0, 300, 3)
    table = torch.from_numpy(planted.latent)
    for steps in (
        random_steps(artists, 16, np.random.default_rng(0)),
        near_steps(table, artists, 16, np.random.default_rng(0)),
    ):
        taken = list(steps)
        assert sorted(np.concatenate(taken).tolist()) == artists.tolist()
        assert max(map(len, taken)) <= 16


def test_near_steps_are_near_and_others_each_pass(planted):
    table, artists = torch.from_numpy(planted.latent), np.arange(300)
    generator = np.random.default_rng(0)
    near, again, random = (list(take) for take in (
        near_steps(table, artists, 16, generator),
        near_steps(table, artists, 16, generator),
        random_steps(artists, 16, generator),
    ))  # fmt: skip
    spread = [
        np.mean([(planted.latent[step] @ planted.latent[step].T).mean() for step in steps])
        for steps in (near, random)
    ]
    assert spread[0] > spread[1] + 0.3
    assert {tuple(sorted(step.tolist())) for step in near} != {
        tuple(sorted(step.tolist())) for step in again
    }


def test_settings_that_cannot_be_are_named():
    with pytest.raises(ValueError, match="objective 'infonce': give 'thesis' or 'contrastive'"):
        EmbeddingSettings(objective="infonce")
    with pytest.raises(
        ValueError, match="metric 'euclidean', and the thesis' objective is one of cosines"
    ):
        EmbeddingSettings(metric="euclidean")
    with pytest.raises(ValueError, match="temperature 0 must be positive"):
        EmbeddingSettings(objective="contrastive", temperature=0)
