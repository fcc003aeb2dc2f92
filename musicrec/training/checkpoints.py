"""A training's last state and best weights in the store."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from musicrec.storage.record import DamagedError
from musicrec.storage.store import Store
from musicrec.telemetry.progress import event

WEIGHTS = "model.safetensors"
DIGEST = "sha256"  # of the tensors, in the metadata of the weights


@dataclass(frozen=True)
class StoreCheckpoints:
    """Checkpoints in one folder of a store; each is one object and so written atomically."""

    store: Store
    folder: str

    def load_last(self) -> dict[str, Any] | None:
        """Return the last state, or None before the first epoch has ended.

        A damaged state is logged and counts as none, so that the training begins again.
        """
        name = f"{self.folder}/last.pt"
        if not self.store.exists(name):
            return None
        content = io.BytesIO(self.store.read(name))
        try:
            # torch does not verify the CRC-32 that it writes for each entry.
            with zipfile.ZipFile(content) as archive:
                if (entry := archive.testzip()) is not None:
                    raise zipfile.BadZipFile(f"the checksum of {entry} is wrong")
            content.seek(0)
            return torch.load(content, weights_only=True, map_location="cpu")
        except Exception as error:  # noqa: BLE001  # of bytes in memory: they are damaged
            uri = self.store.uri(name)
            event("train", f"the checkpoint {uri} is damaged: not used", error=str(error))
            return None

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
        self.store.write(
            f"{self.folder}/{WEIGHTS}",
            safetensors.torch.save(contiguous, {DIGEST: _digest(contiguous)}),
        )


def load_weights(store: Store, folder: str) -> dict[str, Tensor]:
    """Return the best weights of the training in a folder.

    Weights of older versions have no digest and are not verified.

    Raises
    ------
    DamagedError
        They are not those that were written.
    """
    name = f"{folder}/{WEIGHTS}"
    content = store.read(name)
    try:
        weights = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise _damaged(store, name, folder, str(error)) from error
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata = header.get("__metadata__")
    if metadata and metadata.get(DIGEST) != _digest(weights):
        raise _damaged(store, name, folder, "the tensors do not match their SHA-256")
    return weights


def _damaged(store: Store, name: str, folder: str, reason: str) -> DamagedError:
    return DamagedError(
        f"{store.uri(name)} is damaged: {reason}. Delete the folder {store.uri(folder)} and start "
        "again: its training is then repeated"
    )


def _digest(weights: dict[str, Tensor]) -> str:
    """Return the SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
