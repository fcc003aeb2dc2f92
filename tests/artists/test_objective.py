"""The vectorised objective against an independent computation, one example at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from musicrec.artists.objective import Examples, draw_examples, loss_and_gradient
from musicrec.artists.row_adam import RowAdam


def one_by_one(table, weight, bias, examples):
    """Loss and gradients summed in Python over single examples (Whitell 2019), in float64."""
    loss, vectors, by_weight, by_bias = 0.0, np.zeros_like(table), 0.0, 0.0
    for artist, context, label in zip(*examples, strict=True):
        x, y = table[artist], table[context]
        length_x, length_y = math.sqrt(sum(x * x)), math.sqrt(sum(y * y))
        cosine = sum(x * y) / (length_x * length_y)
        probability = 1 / (1 + math.exp(-(weight * cosine + bias)))
        loss -= label * math.log(probability) + (1 - label) * math.log(1 - probability)
        slope = probability - label
        by_weight += slope * cosine
        by_bias += slope
        vectors[artist] += slope * weight * (y / (length_x * length_y) - cosine * x / length_x**2)
        vectors[context] += slope * weight * (x / (length_x * length_y) - cosine * y / length_y**2)
    count = len(examples[0])
    return loss / count, vectors / count, by_weight / count, by_bias / count


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_loss_and_gradient_equal_a_computation_one_example_at_a_time(graph, dtype, tolerance):
    generator = np.random.default_rng(0)
    table = generator.uniform(-1, 1, size=(len(graph), 20))
    examples = draw_examples(graph, generator.permutation(len(graph))[:32], generator)
    weight, bias = torch.tensor(2.5, dtype=dtype), torch.tensor(-0.7, dtype=dtype)
    found = loss_and_gradient(torch.from_numpy(table).to(dtype), weight, bias, examples)
    plain = [examples.artists.tolist(), examples.contexts.tolist(), examples.labels.tolist()]
    loss, vectors, by_weight, by_bias = one_by_one(table, 2.5, -0.7, plain)
    assert found.loss.item() == pytest.approx(loss, abs=tolerance)
    assert found.weight.item() == pytest.approx(by_weight, abs=tolerance)
    assert found.bias.item() == pytest.approx(by_bias, abs=tolerance)
    whole = np.zeros_like(table)
    whole[found.rows] = found.vectors.double().numpy()
    np.testing.assert_allclose(whole, vectors, atol=tolerance)
    assert np.abs(vectors).max() > 1000 * tolerance


def test_a_zero_row_has_cosine_zero_and_no_gradient():
    table = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    examples = Examples(torch.tensor([0]), torch.tensor([1]), torch.tensor([1.0]))
    found = loss_and_gradient(table, torch.tensor(1.0), torch.tensor(0.0), examples)
    assert found.loss.item() == pytest.approx(math.log(2))
    assert torch.isfinite(found.vectors).all()
    assert not found.vectors[0].any()


def test_each_relation_is_an_example_and_negatives_are_uniform(graph):
    generator = np.random.default_rng(5)
    artists = np.arange(0, len(graph), 2)
    drawn = np.zeros(len(graph))
    for _ in range(50):
        examples = draw_examples(graph, artists, generator)
        positive = examples.labels.numpy() == 1
        pairs = list(
            zip(
                examples.artists.numpy()[positive].tolist(),
                examples.contexts.numpy()[positive].tolist(),
                strict=True,
            )
        )
        assert pairs == [
            (artist, tail)
            for artist in artists.tolist()
            for tail in graph.related_sets[artist].tolist()
        ]
        np.testing.assert_array_equal(
            np.bincount(examples.artists.numpy()[~positive], minlength=len(graph))[artists],
            graph.degrees[artists],
        )
        drawn += np.bincount(examples.contexts.numpy()[~positive], minlength=len(graph))
    expected = drawn.sum() / len(graph)
    chi_square = np.sum((drawn - expected) ** 2 / expected)
    assert chi_square < len(graph) + 5 * math.sqrt(2 * len(graph))


def test_dense_adam_equals_torch():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(12, 5, generator=generator)
    ours, theirs = start.clone(), torch.nn.Parameter(start.clone())
    adam, reference = (
        RowAdam(torch.zeros(12, 5), torch.zeros(12, 5), 0, lazy=False),
        torch.optim.Adam([theirs], lr=0.01),
    )
    for _ in range(30):
        rows = torch.randperm(12, generator=generator)[:4]
        gradient = torch.randn(4, 5, generator=generator)
        adam.step(ours, rows, gradient, 0.01)
        theirs.grad = torch.zeros(12, 5).index_copy(0, rows, gradient)
        reference.step()
    torch.testing.assert_close(ours, theirs.detach(), atol=1e-6, rtol=1e-6)


def test_lazy_adam_equals_torch_sparse_and_leaves_other_rows_alone():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(12, 5, generator=generator)
    ours, theirs = start.clone(), torch.nn.Parameter(start.clone())
    adam, reference = (
        RowAdam(torch.zeros(12, 5), torch.zeros(12, 5), 0, lazy=True),
        torch.optim.SparseAdam([theirs], lr=0.01),
    )
    for _ in range(30):
        rows = torch.randperm(11, generator=generator)[:4]
        gradient = torch.randn(4, 5, generator=generator)
        adam.step(ours, rows, gradient, 0.01)
        with torch.sparse.check_sparse_tensor_invariants():
            theirs.grad = torch.sparse_coo_tensor(rows[None], gradient, (12, 5))
            reference.step()
    torch.testing.assert_close(ours, theirs.detach(), atol=1e-6, rtol=1e-6)
    assert torch.equal(ours[11], start[11])
