from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from small_settings import FULL_BATCH

from musicrec.artists.embedding import train_embeddings
from musicrec.artists.graph import build_graph
from musicrec.artists.quality import chance_jaccard, related_jaccard
from musicrec.artists.settings import THESIS_STAGES, EmbeddingSettings, Stage
from musicrec.evaluation.metrics import jaccard_neighbours

MINI_BATCH = EmbeddingSettings(
    dimensions=16,
    stages=(
        Stage(learning_rate=1e-2, artists_per_step=32, patience=2, maximum_passes=3),
        Stage(learning_rate=3e-3, artists_per_step=16, patience=1, maximum_passes=2),
    ),
    seed=3,
)


class Interrupted(Exception):
    """Ends a training from outside, as a lost machine would."""


def test_the_defaults_are_the_thesis():
    assert EmbeddingSettings().dimensions == 800
    assert [
        (stage.learning_rate, stage.artists_per_step, stage.patience) for stage in THESIS_STAGES
    ] == [
        (1e-3, 32, 1),
        (5e-4, 16, 1),
        (1e-5, 1, 2),
    ]
    assert EmbeddingSettings().stages == THESIS_STAGES


def test_full_batch_training_finds_the_planted_relations(graph, planted, by_the_thesis):
    result = by_the_thesis
    latent, chance = related_jaccard(graph, planted.latent), chance_jaccard(graph)
    found = related_jaccard(graph, result.vectors)
    assert chance < 0.05
    assert latent > 0.5
    assert found > 0.85 * latent
    assert found == pytest.approx(max(result.jaccard), abs=0.005)
    assert result.best_pass == int(np.argmax(result.jaccard))
    assert result.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(result.vectors, axis=1), 1, atol=1e-6)
    assert result.loss[result.best_pass] < 0.6 < result.loss[0]
    assert result.weight > 1


def test_mini_batches_train_too_and_stages_follow_each_other(graph):
    seen = []
    result = train_embeddings(
        graph, MINI_BATCH, on_pass=lambda progress: seen.append((progress.stage, progress.passes))
    )
    assert seen == [(0, 1), (0, 2), (0, 3), (1, 4), (1, 5)]
    assert result.loss[-1] < result.loss[0] - 0.05
    assert related_jaccard(graph, result.vectors) > 5 * chance_jaccard(graph)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("stop", [1, 3, 4, 5])
def test_a_continued_run_equals_the_uninterrupted_one_bit_for_bit(graph, stop, lazy):
    settings = dataclasses.replace(MINI_BATCH, lazy=lazy)
    whole = train_embeddings(graph, settings)
    saved = []

    def interrupt(progress):
        if progress.passes == stop:
            saved.append(save(progress.state()))
            raise Interrupted

    with pytest.raises(Interrupted):
        train_embeddings(graph, settings, on_pass=interrupt)
    continued = train_embeddings(graph, settings, state=load(saved[0]))
    np.testing.assert_array_equal(continued.vectors, whole.vectors)
    np.testing.assert_array_equal(continued.loss, whole.loss)
    np.testing.assert_array_equal(continued.jaccard, whole.jaccard)
    assert (continued.weight, continued.bias, continued.best_pass) == (
        whole.weight,
        whole.bias,
        whole.best_pass,
    )
    assert continued.state.keys() == whole.state.keys()
    for name, tensor in whole.state.items():
        assert torch.equal(continued.state[name], tensor), name


def test_a_state_is_a_copy_that_further_training_leaves_alone(graph):
    states = []
    train_embeddings(graph, MINI_BATCH, on_pass=lambda progress: states.append(progress.state()))
    assert not torch.equal(states[0]["table"], states[1]["table"])
    views = []
    train_embeddings(
        graph,
        MINI_BATCH,
        on_pass=lambda progress: views.append(progress.state(copy=False)["table"]),
    )
    assert views[0].data_ptr() == views[1].data_ptr(), "a state that is no copy takes no memory"


def test_the_seed_decides(graph):
    short = dataclasses.replace(
        FULL_BATCH,
        stages=(Stage(learning_rate=1e-2, artists_per_step=1, patience=9, maximum_passes=3),),
    )
    first, again = train_embeddings(graph, short), train_embeddings(graph, short)
    other = train_embeddings(graph, dataclasses.replace(short, seed=1))
    np.testing.assert_array_equal(first.vectors, again.vectors)
    assert np.abs(first.vectors - other.vectors).max() > 0.1


def test_selection_by_jaccard_keeps_the_peak_and_by_loss_the_lowest_loss(graph):
    # At this rate the Jaccard index peaks early and falls while the loss still improves (the
    # thesis' objective on planted graphs).
    stages = (Stage(learning_rate=3e-3, artists_per_step=1, patience=1000, maximum_passes=120),)
    by_jaccard = train_embeddings(graph, dataclasses.replace(FULL_BATCH, stages=stages))
    by_loss = train_embeddings(
        graph, dataclasses.replace(FULL_BATCH, stages=stages, select_by="loss")
    )
    np.testing.assert_array_equal(by_jaccard.loss, by_loss.loss)
    assert by_jaccard.best_pass == np.argmax(by_jaccard.jaccard) < 60
    assert by_loss.best_pass == np.argmin(by_loss.loss) > 60
    assert related_jaccard(graph, by_jaccard.vectors) > related_jaccard(graph, by_loss.vectors)


def test_a_stage_ends_when_its_patience_is_used_up(graph):
    # A rate this small improves nothing, so that only the noise of the negatives moves the loss.
    stages = tuple(
        Stage(learning_rate=1e-12, artists_per_step=32, patience=patience, maximum_passes=200)
        for patience in (1, 4)
    )
    result = train_embeddings(graph, dataclasses.replace(MINI_BATCH, stages=stages))
    for number, patience in enumerate((1, 4)):
        loss = result.loss[result.stage == number]
        assert len(loss) - 1 - np.argmin(loss) == patience
        assert len(np.unique(loss)) == len(loss), "the negatives of every pass are drawn anew"


def test_the_next_stage_starts_from_the_best_table(graph):
    stages = tuple(
        Stage(learning_rate=rate, artists_per_step=1, patience=9, maximum_passes=100)
        for rate in (3e-3, 1e-12)
    )
    states = {}
    result = train_embeddings(
        graph,
        dataclasses.replace(FULL_BATCH, stages=stages),
        on_pass=lambda progress: states.update({progress.passes: progress.state()}),
    )
    last = int(np.sum(result.stage == 0))
    peak = int(np.argmax(result.jaccard[:last]))
    assert peak == last - 1 - 9
    assert torch.equal(states[last]["table"], states[peak + 1]["table"])
    assert not torch.equal(states[last]["table"], states[last - 1]["table"])
    assert not states[last]["table_first_moment"].any()


def test_jaccard_may_be_measured_seldom_and_on_a_sample(graph):
    settings = dataclasses.replace(
        FULL_BATCH,
        jaccard_every=4,
        jaccard_artists=50,
        stages=(Stage(learning_rate=3e-2, artists_per_step=1, patience=50, maximum_passes=10),),
    )
    result = train_embeddings(graph, settings)
    assert np.flatnonzero(~np.isnan(result.jaccard)).tolist() == [3, 7, 9]
    assert result.best_pass in (3, 7, 9)


def test_related_jaccard_equals_the_plain_metric(graph, planted):
    noise = np.random.default_rng(0).normal(size=planted.latent.shape)
    for vectors in (planted.latent, noise.astype(np.float32)):
        assert related_jaccard(graph, vectors) == pytest.approx(
            jaccard_neighbours(vectors, graph.related_sets), abs=1e-12
        )


def test_chance_jaccard_is_what_random_vectors_reach(graph):
    generator = np.random.default_rng(0)
    random = [related_jaccard(graph, generator.normal(size=(len(graph), 24))) for _ in range(20)]
    assert np.mean(random) == pytest.approx(
        chance_jaccard(graph), abs=5 * np.std(random) / np.sqrt(20)
    )


def test_what_cannot_be_trained_is_named(graph):
    lonely = build_graph([], [], [], ["a", "b"])
    with pytest.raises(ValueError, match="2 artists has no relation"):
        train_embeddings(lonely, FULL_BATCH)
    state = train_embeddings(graph, MINI_BATCH).state
    with pytest.raises(
        ValueError,
        match=r"at stage 2 and has .* = \(300, 16, 3150, 3, 0\); "
        r"this training has \(300, 32, 3150, 0, 0\) and 1 stages",
    ):
        train_embeddings(graph, FULL_BATCH, state=state)
    with pytest.raises(ValueError, match="learning_rate=0"):
        Stage(learning_rate=0, artists_per_step=1, patience=1)
    with pytest.raises(ValueError, match="dimensions 0"):
        EmbeddingSettings(dimensions=0)
    with pytest.raises(ValueError, match="select_by 'accuracy'"):
        EmbeddingSettings(select_by="accuracy")
    with pytest.raises(FloatingPointError, match="stage 0, pass 0: the loss is nan"):
        broken = dict(
            train_embeddings(
                graph, dataclasses.replace(MINI_BATCH, stages=MINI_BATCH.stages[:1])
            ).state
        )
        broken["table"] = torch.full_like(broken["table"], torch.nan)
        broken["counters"][:5] = 0
        train_embeddings(graph, MINI_BATCH, state=broken)
