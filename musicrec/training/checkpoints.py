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

from musicrec.storage.damage import report
from musicrec.storage.record import DamagedError
from musicrec.storage.store import Store
from musicrec.telemetry.progress import event

WEIGHTS, LAST = "model.safetensors", "last.pt"
DIGEST = "sha256"  # of the tensors, in the metadata of the weights


@dataclass(frozen=True)
class StoreCheckpoints:
    """Checkpoints in one folder of a store; each is one object and so written atomically."""

    store: Store
    folder: str

    def load_last(self) -> dict[str, Any] | None:
        """Return the last state, or None before the first epoch has ended.

        A damaged state counts as none, so that the training begins again.
        """
        return load_state(self.store, self.folder, "train")

    def save_last(self, state: dict[str, Any]) -> None:
        """Write the last state."""
        stream = io.BytesIO()
        torch.save(state, stream)
        self.store.write(f"{self.folder}/{LAST}", stream.getvalue())

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


def load_state(store: Store, folder: str, stage: str) -> dict[str, Any] | None:
    """Return what ``torch.save`` wrote into ``last.pt`` of a folder, or None without the file.

    A damaged state is logged under the stage's name and counts as none.
    """
    name = f"{folder}/{LAST}"
    if not store.exists(name):
        return None
    content = io.BytesIO(store.read(name))
    try:
        # torch does not verify the CRC-32 that it writes for each entry.
        with zipfile.ZipFile(content) as archive:
            if (entry := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"the checksum of {entry} is wrong")
        content.seek(0)
        return torch.load(content, weights_only=True, map_location="cpu")
    except Exception as error:  # noqa: BLE001  # of bytes in memory: they are damaged
        uri = store.uri(name)
        event(stage, f"the checkpoint {uri} is damaged: not used", error=str(error))
        return None


def load_weights(store: Store, folder: str) -> dict[str, Tensor]:
    """Return the best weights of the training in a folder.

    Raises
    ------
    DamagedError
        They are not those that were written; the next run repeats the training.
    """
    return _load(store, folder)[1]


def load_weights_file(store: Store, folder: str) -> bytes:
    """Return the file of the best weights of the training in a folder, once it is verified.

    Raises
    ------
    DamagedError
        They are not those that were written; the next run repeats the training.
    """
    return _load(store, folder)[0]


def _load(store: Store, folder: str) -> tuple[bytes, dict[str, Tensor]]:
    name = f"{folder}/{WEIGHTS}"
    content = store.read(name)
    try:
        return content, parse_weights(content, store.uri(name))
    except DamagedError as error:
        # A finished training would not write its weights again.
        raise report(store, name, str(error), others=[f"{folder}/{LAST}"]) from error


def parse_weights(content: bytes, uri: str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file.

    Weights of older versions have no digest and are not verified.

    Raises
    ------
    DamagedError
        They are not those that were written.
    """
    try:
        weights = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise DamagedError(f"{uri} is damaged: {error}") from error
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata = header.get("__metadata__")
    if metadata and metadata.get(DIGEST) != _digest(weights):
        raise DamagedError(f"{uri} is damaged: the tensors do not match their SHA-256")
    return weights


def _digest(weights: dict[str, Tensor]) -> str:
    """Return the SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
