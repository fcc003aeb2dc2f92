"""Save a training of artist embeddings after some of its passes, to continue from."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from musicrec.storage.store import Store
from musicrec.telemetry.progress import event

if TYPE_CHECKING:  # torch takes seconds to load
    from musicrec.artists.embedding import PassProgress


@dataclass(frozen=True)
class PassCheckpoint:
    """``last.pt`` in a folder of the store: the state of a training over ``artists`` artists.

    It is written after every pass of a large graph and after every hundredth of a small one, whose
    passes take less time than the file.
    """

    store: Store
    folder: str
    artists: int

    def save(self, progress: PassProgress) -> None:
        """Write the state after a pass and log the pass."""
        import torch

        from musicrec.training.checkpoints import LAST

        if progress.passes % max(1, 100_000 // self.artists):
            return
        stream = io.BytesIO()
        torch.save(progress.state(copy=False), stream)
        self.store.write(f"{self.folder}/{LAST}", stream.getbuffer())
        figures = {
            "loss": progress.loss,
            "jaccard": progress.jaccard,
            "held_out": progress.held_out,
        }
        event(
            "artists",
            "pass",
            passes=progress.passes,
            training_stage=progress.stage,
            **{name: value for name, value in figures.items() if math.isfinite(value)},
        )

    def load(self) -> dict[str, Any] | None:
        """Return the saved state, None if there is none or if it is damaged."""
        from musicrec.training.checkpoints import load_state

        return load_state(self.store, self.folder, "artists")

    def remove(self) -> None:
        """Remove the file, if there is one."""
        from musicrec.training.checkpoints import LAST

        self.store.remove(f"{self.folder}/{LAST}")
