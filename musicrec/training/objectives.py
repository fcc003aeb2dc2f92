"""Loss, validation metric and targets of each task.

A task is one entry of ``OBJECTIVES``: the training loop knows nothing of it but these functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn import functional

from musicrec import schema

# Nearest artists that a target and an output are compared by.
NEIGHBOURS = 10


@dataclass(frozen=True)
class Objective:
    """A task.

    Attributes
    ----------
    metric_name
        What people call the validation metric.
    loss
        (output, target) -> scalar, the mean over the batch.
    metric
        (output, target) -> (B,), the validation metric of each example.
    better
        +1 if a higher validation metric is better, -1 if a lower one is.
    target_schema, target_key
        The table of targets, and the column of a training's examples that its first column is
        matched with.
    tensor
        (target table, outputs) -> tensor with one row a target.
    metric_over
        Table of targets -> ``metric``, of a metric that asks for more than the example's own
        target.
    activation
        What turns an output into the figure that is judged: probabilities of a genre task.
    """

    metric_name: str
    loss: Callable[[Tensor, Tensor], Tensor]
    metric: Callable[[Tensor, Tensor], Tensor]
    better: int
    target_schema: pa.Schema = schema.EMBEDDINGS
    target_key: str = "artist_id"
    tensor: Callable[[pa.Table, int], Tensor] = lambda table, outputs: _vectors(table)
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    metric_over: Callable[[Tensor], Callable[[Tensor, Tensor], Tensor]] | None = None

    def over(self, table: Tensor) -> Objective:
        """Return the objective over a table of targets, one row each."""
        return self if self.metric_over is None else replace(self, metric=self.metric_over(table))


def _cosine(output: Tensor, target: Tensor) -> Tensor:
    return functional.cosine_similarity(output.float(), target.float(), dim=1)


def shared_neighbours(table: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the metric (output, target) -> (B,) that compares their nearest rows of a table.

    It is the fraction of the target's nearest rows by cosine that are among the output's.
    """
    unit = functional.normalize(table.float(), dim=1)
    count = min(NEIGHBOURS, len(table))

    def metric(output: Tensor, target: Tensor) -> Tensor:
        rows = unit.to(output.device)
        found, wanted = (
            (functional.normalize(values.float(), dim=1) @ rows.T).topk(count).indices
            for values in (output, target)
        )
        return (found[:, :, None] == wanted[:, None, :]).any(dim=2).float().mean(dim=1)

    return metric


def _vectors(table: pa.Table) -> Tensor:
    return torch.from_numpy(np.stack(table.column("vector").to_numpy()))


def _first_class(table: pa.Table, outputs: int) -> Tensor:
    """(N,) the one class of each track."""
    return torch.from_numpy(
        table.column("classes").combine_chunks().flatten().to_numpy().astype(np.int64)
    )


def _indicators(table: pa.Table, outputs: int) -> Tensor:
    """(N, outputs) uint8, 1 for each class of a track."""
    classes = table.column("classes").combine_chunks()
    indicators = np.zeros((len(classes), outputs), np.uint8)
    indicators[classes.value_parent_indices().to_numpy(), classes.flatten().to_numpy()] = 1
    return torch.from_numpy(indicators)


def _correct(output: Tensor, target: Tensor) -> Tensor:
    return (output.argmax(dim=1) == target).float()


def _cross_entropies(output: Tensor, target: Tensor) -> Tensor:
    """(B,) binary cross entropy of each example, the mean over its labels."""
    return functional.binary_cross_entropy_with_logits(
        output.float(), target.float(), reduction="none"
    ).mean(dim=1)


# Regression of the artist's embedding: negative cosine similarity.
EMBEDDING = Objective(
    "cosine", loss=lambda output, target: -_cosine(output, target).mean(), metric=_cosine, better=1
)
# The same, and the weights are kept that retrieve best.
EMBEDDING_BY_NEIGHBOURS = replace(
    EMBEDDING, metric_name="neighbours", metric_over=shared_neighbours
)
# One genre: categorical cross entropy; the weights of the best validation accuracy are kept.
SINGLE_GENRE = Objective(
    "accuracy",
    loss=lambda output, target: functional.cross_entropy(output.float(), target),
    metric=_correct,
    better=1,
    target_schema=schema.LABELS,
    target_key="track_id",
    tensor=_first_class,
    activation="softmax",
)
# Many genres: binary cross entropy of each label; the weights of the least validation loss are
# kept.
MANY_GENRES = Objective(
    "loss",
    loss=lambda output, target: _cross_entropies(output, target).mean(),
    metric=_cross_entropies,
    better=-1,
    target_schema=schema.LABELS,
    target_key="track_id",
    tensor=_indicators,
    activation="sigmoid",
)
OBJECTIVES = {
    "embedding": EMBEDDING,
    "embedding_by_neighbours": EMBEDDING_BY_NEIGHBOURS,
    "single_genre": SINGLE_GENRE,
    "many_genres": MANY_GENRES,
}
