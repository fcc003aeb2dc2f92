"""The objective with soft positives against a dense computation, and training by it."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from musicrec.artists.embedding import train_embeddings
from musicrec.artists.graph import build_graph
from musicrec.artists.held_out import held_out_ndcg, hold_out
from musicrec.artists.link_prediction import baseline_scores
from musicrec.artists.pagerank import adjacency, neighbourhoods
from musicrec.artists.quality import related_jaccard
from musicrec.artists.selection import Trial, final_settings, next_trial, run_trial
from musicrec.artists.settings import EmbeddingSettings, Stage
from musicrec.artists.soft_positives import draw_soft_batch, soft_loss_and_gradient
from musicrec.artists.warm_start import WarmStart
from musicrec.benchmarks.planted import planted_graph

PAGERANK = EmbeddingSettings(
    dimensions=32,
    objective="pagerank",
    temperature=0.15,
    decay="linear",
    select_by="held_out",
    stages=(Stage(learning_rate=3e-2, artists_per_step=64, patience=9, maximum_passes=15),),
)


@pytest.fixture(scope="module")
def near(graph):
    return neighbourhoods(graph, 0.3, 20)


@pytest.fixture(scope="module")
def wrong():
    """Return a graph of which a tenth of the relations is wrong, and a part that is held out."""
    planted = planted_graph(600, 12, clusters=24, popularity=0.005, wrong=0.1)
    whole = build_graph(
        planted.artist_id, planted.related_artist_id, planted.rank, planted.artist_ids
    )
    return hold_out(whole, 0.1, "edge", np.random.default_rng(0))


@pytest.fixture(scope="module")
def links(graph):
    return adjacency(graph)


def by_autograd(table, near, links, heads, temperature):
    """Return loss and gradient with all artists as candidates, in float64.

    Each positive is in a softmax with all artists that are not related to the head.
    """
    table = torch.from_numpy(table).requires_grad_()
    units = table / table.norm(dim=1, keepdim=True)
    logits = units[heads] @ units.T / temperature
    related = (
        torch.from_numpy(links[heads].toarray() > 0) | torch.eye(len(table), dtype=bool)[heads]
    )
    competitors = logits.masked_fill(related, -torch.inf).logsumexp(dim=1, keepdim=True)
    shares = torch.from_numpy(near[heads].toarray())
    losses = torch.logaddexp(competitors, logits) - logits
    loss = (shares * losses).sum(dim=1).mean()
    loss.backward()
    return loss.item(), table.grad.numpy()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-7)])
def test_loss_and_gradient_equal_automatic_differentiation(graph, near, links, dtype, tolerance):
    generator = np.random.default_rng(0)
    table = generator.uniform(-0.3, 0.3, size=(len(graph), 20))
    heads = generator.permutation(len(graph))[:12]
    batch = draw_soft_batch(near, links, heads, len(graph), generator)
    assert len(batch.candidates) == len(graph)
    assert not batch.log_counts.any()
    found = soft_loss_and_gradient(torch.from_numpy(table).to(dtype), batch, 0.2)
    loss, expected = by_autograd(table, near.astype(np.float64), links, heads, 0.2)
    assert found.loss.item() == pytest.approx(loss, abs=10 * tolerance)
    whole = np.zeros_like(table)
    whole[found.rows] = found.vectors.double().numpy()
    np.testing.assert_allclose(whole, expected, atol=tolerance)
    assert np.abs(expected).max() > 1000 * tolerance


def test_drawn_candidates_estimate_the_softmax_over_all(graph, near, links):
    generator = np.random.default_rng(1)
    table = torch.from_numpy(generator.normal(size=(len(graph), 20)))
    heads = np.array([7, 3, 200])
    whole = soft_loss_and_gradient(table, draw_soft_batch(near, links, heads, 300, generator), 0.5)
    losses = []
    for _ in range(200):
        batch = draw_soft_batch(near, links, heads, 40, generator)
        candidates = batch.candidates.numpy()
        assert len(candidates) == len(set(candidates.tolist()))
        assert candidates[batch.heads].tolist() == heads.tolist()
        assert batch.shares.sum().item() == pytest.approx(len(heads))
        assert batch.log_counts.exp().sum().item() == pytest.approx(len(graph), rel=1e-4)
        losses.append(soft_loss_and_gradient(table, batch, 0.5).loss.item())
    assert np.mean(losses) == pytest.approx(whole.loss.item(), abs=0.01)
    assert np.std(losses) > 0.005


def test_a_zero_row_has_no_gradient(near, links):
    table = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    table[5] = 0
    batch = draw_soft_batch(near, links, np.array([5, 6]), 300, np.random.default_rng(0))
    found = soft_loss_and_gradient(table, batch, 0.1)
    assert torch.isfinite(found.vectors).all()
    assert not found.vectors[found.rows == 5].any()


@pytest.mark.parametrize("changes", [{}, {"steps": "near", "initial": "spread", "lazy": True}])
def test_it_finds_more_held_out_relations_than_pagerank_and_than_a_table_that_fits_all(
    wrong, changes
):
    seen, held = wrong
    found = train_embeddings(
        seen,
        dataclasses.replace(PAGERANK, uniform_negatives=200, **changes),
        score=lambda table: held_out_ndcg(seen, table, held),
    )
    best = max(found.held_out)
    assert held_out_ndcg(seen, found.vectors, held) == pytest.approx(best, abs=1e-3)
    assert best > max(baseline_scores(seen, held).values())
    fitted = train_embeddings(
        seen,
        EmbeddingSettings(
            dimensions=32,
            objective="contrastive",
            select_by="jaccard",
            stages=(
                Stage(learning_rate=3e-2, artists_per_step=64, patience=40, maximum_passes=40),
            ),
        ),
    )
    # The table that repeats more of the relations, wrong ones too, finds fewer of those held out.
    assert related_jaccard(seen, fitted.vectors) > related_jaccard(seen, found.vectors)
    assert held_out_ndcg(seen, fitted.vectors, held) < best - 0.01


def test_a_continued_run_equals_the_uninterrupted_one_bit_for_bit(wrong):
    seen, held = wrong
    stages = (Stage(learning_rate=3e-2, artists_per_step=64, patience=9, maximum_passes=4),)
    settings = dataclasses.replace(PAGERANK, stages=stages, uniform_negatives=64)
    states, arguments = [], {"score": lambda table: held_out_ndcg(seen, table, held)}
    whole = train_embeddings(
        seen, settings, on_pass=lambda progress: states.append(save(progress.state())), **arguments
    )
    continued = train_embeddings(seen, settings, load(states[1]), **arguments)
    np.testing.assert_array_equal(continued.vectors, whole.vectors)
    np.testing.assert_array_equal(continued.held_out, whole.held_out)


def test_it_starts_from_earlier_vectors_and_stays_near_them(wrong):
    seen, _ = wrong
    stages = (Stage(learning_rate=3e-2, artists_per_step=64, patience=9, maximum_passes=2),)
    settings = dataclasses.replace(PAGERANK, stages=stages, select_by="last")
    first = train_embeddings(seen, settings)
    start = WarmStart(seen.artist_ids, first.vectors, 0.99)
    second = train_embeddings(seen, dataclasses.replace(settings, seed=1), start=start)
    assert 0.99 - 1e-4 <= second.drift.worst_cosine < 1 - 1e-4


def test_trials_compare_temperatures_in_few_dimensions_and_train_the_best_in_all():
    settings = dataclasses.replace(PAGERANK, dimensions=200)
    done, seen = [], []
    while (following := next_trial(settings, (0.05, 0.1, 0.2), done)) is not None:
        seen.append((following.temperature, following.dimensions))
        ndcg = 0.5 - abs(following.temperature - 0.1) - 0.2 * (following.dimensions == 200)
        done.append(Trial(following.temperature, following.dimensions, ndcg, ((0, 3),), 1.0))
    assert seen == [(0.05, 128), (0.1, 128), (0.2, 128), (0.1, 200)]
    final = final_settings(settings, done[-1])
    assert (final.temperature, final.dimensions, final.select_by) == (0.1, 200, "last")
    assert [(stage.passes, stage.maximum_passes) for stage in final.stages] == [(3, 15)]
    narrow = dataclasses.replace(settings, dimensions=32)
    assert next_trial(narrow, (), []).temperature == narrow.temperature
    one = [Trial(0.1, 32, 0.5, ((0, 3),), 1.0)]
    assert next_trial(narrow, (0.1,), one) is None


def test_the_final_training_takes_the_passes_that_led_to_the_best_table(graph):
    """Phases start from the best table before them; what came after it is left out."""
    seen, held = hold_out(graph, 0.1, "edge", np.random.default_rng(0))
    stages = (
        Stage(learning_rate=3e-2, artists_per_step=64, patience=9, maximum_passes=5),
        Stage(learning_rate=3e-3, artists_per_step=64, patience=9, maximum_passes=3),
    )
    settings = dataclasses.replace(PAGERANK, stages=stages)
    trial = run_trial(seen, held, settings)
    again = train_embeddings(seen, final_settings(settings, trial))
    assert held_out_ndcg(seen, again.vectors, held) == pytest.approx(trial.ndcg, abs=1e-6)
    assert len(again.loss) == sum(passes for _, passes in trial.passes)
    assert Trial.from_json(json.loads(json.dumps(trial.as_json()))) == trial
