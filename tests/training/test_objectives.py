from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from musicrec import schema
from musicrec.training.objectives import (
    EMBEDDING,
    EMBEDDING_BY_NEIGHBOURS,
    MANY_GENRES,
    OBJECTIVES,
    SINGLE_GENRE,
)


def test_cosine_of_each_example() -> None:
    output = torch.tensor([[1.0, 0.0], [3.0, 4.0], [-2.0, 0.0], [0.0, 0.0]])
    target = torch.tensor([[5.0, 0.0], [4.0, 3.0], [1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(EMBEDDING.metric(output, target), [1, 24 / 25, -1, 0], atol=1e-6)
    assert EMBEDDING.loss(output, target).item() == pytest.approx(-(1 + 24 / 25 - 1 + 0) / 4)
    assert EMBEDDING.better == 1


def test_the_loss_falls_along_its_gradient_and_ignores_length() -> None:
    output = torch.tensor([[1.0, 2.0, -1.0]], requires_grad=True)
    target = torch.tensor([[0.5, -1.0, 2.0]])
    loss = EMBEDDING.loss(output, target)
    loss.backward()
    assert EMBEDDING.loss(output - 0.1 * output.grad, target) < loss
    assert EMBEDDING.loss(7 * output, target).item() == pytest.approx(loss.item())
    assert (output.grad * output).sum().item() == pytest.approx(
        0, abs=1e-6
    )  # no pull along the vector itself


def test_an_output_of_zeros_has_a_finite_gradient() -> None:
    output = torch.zeros(1, 3, requires_grad=True)
    EMBEDDING.loss(output, torch.ones(1, 3)).backward()
    assert torch.isfinite(output.grad).all()


def test_shared_neighbours_of_each_example() -> None:
    angles = np.deg2rad(np.arange(0, 360, 10))
    table = torch.tensor(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    target = table[[0, 0, 0]]
    output = torch.tensor(np.array([[5.0, 0.2], [np.cos(0.28), np.sin(0.28)], [-1.0, 0.1]]))
    # The target at 0 degrees has -40..40 and one of +-50 nearest; an output at 16 degrees has
    # -20..60 and -30; nothing lies about 174.
    shares = EMBEDDING_BY_NEIGHBOURS.over(table).metric(output, target).tolist()
    assert shares[0] > 0.89 and 0.69 < shares[1] < 0.91 and shares[2] == 0
    assert EMBEDDING_BY_NEIGHBOURS.over(table[:4]).metric(output, target).tolist() == [
        1,
        1,
        1,
    ]  # all artists are the nearest


def labels(*classes: list[int]) -> pa.Table:
    return pa.table(
        {"track_id": [f"t{row}" for row in range(len(classes))], "classes": list(classes)},
        schema=schema.LABELS,
    )


def test_one_genre_is_cross_entropy_judged_by_accuracy() -> None:
    target = SINGLE_GENRE.tensor(labels([2], [0]), 3)
    output = torch.tensor([[0.0, 0.0, np.log(2.0)], [0.0, np.log(3.0), 0.0]])
    assert target.tolist() == [2, 0]
    assert SINGLE_GENRE.loss(output, target).item() == pytest.approx(
        (np.log(4 / 2) + np.log(5 / 1)) / 2
    )
    assert SINGLE_GENRE.metric(output, target).tolist() == [1, 0]
    assert SINGLE_GENRE.better == 1


def test_many_genres_is_the_mean_cross_entropy_of_labels_judged_by_itself() -> None:
    target = MANY_GENRES.tensor(labels([0, 2], [1]), 3)
    assert target.tolist() == [[1, 0, 1], [0, 1, 0]]
    output = torch.tensor([[np.log(3.0), 0.0, 0.0], [0.0, np.log(4.0), np.log(4.0)]])
    first = (np.log(4 / 3) + 2 * np.log(2)) / 3
    second = (np.log(2) + np.log(5 / 4) + np.log(5)) / 3
    assert MANY_GENRES.metric(output, target).tolist() == pytest.approx([first, second])
    assert MANY_GENRES.loss(output, target).item() == pytest.approx((first + second) / 2)
    assert MANY_GENRES.better == -1


@pytest.mark.parametrize("name", OBJECTIVES)
def test_half_precision_outputs_are_judged_in_full(name: str) -> None:
    objective = OBJECTIVES[name].over(torch.eye(3))
    output = (
        torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    )
    target = {
        "embedding": torch.eye(3)[[0, 1, 2, 0]],
        "embedding_by_neighbours": torch.eye(3)[[0, 1, 2, 0]],
        "single_genre": torch.tensor([0, 1, 2, 0]),
        "many_genres": torch.eye(3, dtype=torch.uint8)[[0, 1, 2, 0]],
    }[name]
    loss = objective.loss(output, target)
    loss.backward()
    assert loss.dtype == objective.metric(output, target).dtype == torch.float32
    assert torch.isfinite(output.grad).all() and output.grad.abs().sum() > 0
