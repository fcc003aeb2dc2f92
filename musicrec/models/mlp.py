"""Dense layers over a vector of a track."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .layers import dense_layers, initialise

# Inputs are in deviations of the training tracks. A rare value of 50 would drown all others.
LARGEST = 5.0


class MLP(nn.Module):
    """Dense layers with ReLU and dropout, dense to the outputs.

    Parameters
    ----------
    outputs : int
        Length of the output vector.
    inputs : int
        Length of the input vector.
    hidden : sequence of int
        Widths of the hidden layers.
    dropout : float
        Fraction dropped after each hidden layer.
    """

    def __init__(
        self, outputs: int, *, inputs: int, hidden: Sequence[int] = (256,), dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.hidden = dense_layers(inputs, hidden, dropout)
        self.head = nn.Linear((inputs, *hidden)[-1], outputs)
        initialise(self)

    def forward(self, vectors: Tensor) -> Tensor:
        """Map (B, ...), whose other axes hold ``inputs`` numbers, to (B, outputs).

        The numbers are standardised; beyond 5 deviations they are cut.
        """
        return self.head(self.hidden(vectors.flatten(1).clamp(-LARGEST, LARGEST)))
