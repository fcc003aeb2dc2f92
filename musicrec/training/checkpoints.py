"""A training's last state and best weights in the store."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from musicrec.storage.store import Store

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class StoreCheckpoints:
    """Checkpoints in one folder of a store; each is one object and so written atomically."""

    store: Store
    folder: str

    def load_last(self) -> dict[str, Any] | None:
        """Return the last state, or None before the first epoch has ended."""
        name = f"{self.folder}/last.pt"
        if not self.store.exists(name):
            return None
        return torch.load(io.BytesIO(self.store.read(name)), weights_only=True, map_location="cpu")

    def save_last(self, state: dict[str, Any]) -> None:
        """Write the last state."""
        stream = io.BytesIO()
        torch.save(state, stream)
        self.store.write(f"{self.folder}/last.pt", stream.getvalue())

    def load_best(self) -> dict[str, Tensor]:
        """Return the best weights."""
        return load_weights(self.store, self.folder)

    def save_best(self, weights: dict[str, Tensor]) -> None:
        """Write the best weights."""
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
        self.store.write(f"{self.folder}/{WEIGHTS}", safetensors.torch.save(contiguous))


def load_weights(store: Store, folder: str) -> dict[str, Tensor]:
    """Return the best weights of the training in a folder."""
    return safetensors.torch.load(store.read(f"{folder}/{WEIGHTS}"))
