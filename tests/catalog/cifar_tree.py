"""Write a small data set in the published form of CIFAR-100: pickles with keys of bytes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

NAMES = (
    *(
        b"apple",
        b"aquarium_fish",
        b"baby",
        b"bear",
        b"beaver",
        b"bed",
        b"bee",
        b"beetle",
        b"bicycle",
        b"bottle",
    ),
    *(
        b"bowl",
        b"boy",
        b"bridge",
        b"bus",
        b"butterfly",
        b"camel",
        b"can",
        b"castle",
        b"caterpillar",
        b"cattle",
    ),
)
SIDE = 32


def build_cifar_tree(
    folder: str | Path, train: int = 100, test: int = 30, classes: int = 5, seed: int = 0
) -> Path:
    """Write ``cifar-100-python/`` with images of up to 20 classes in turn; return the root.

    A class has its own colour under noise, so that there is something to learn.
    """
    root = Path(folder)
    write_pickle(
        root, "meta", {b"fine_label_names": [*NAMES[:classes]], b"coarse_label_names": [b"things"]}
    )
    colours = np.random.default_rng([seed, classes]).uniform(32, 224, (classes, 3, 1))
    for number, (name, count) in enumerate((("train", train), ("test", test))):
        write_pickle(
            root, name, picture_file(name, colours, np.arange(count) % classes, [seed, number])
        )
    return root


def picture_file(
    name: str, colours: np.ndarray, labels: np.ndarray, seed: list[int]
) -> dict[bytes, Any]:
    """Return the content of a file.

    ``data`` is (N, 3072) uint8, one image per row as (channel, height, width).
    """
    noise = np.random.default_rng(seed).normal(0, 24, (len(labels), 3, SIDE * SIDE))
    pictures = (colours[labels] + noise).clip(0, 255).astype(np.uint8)
    return {
        b"filenames": [f"picture_s_{row:06d}.png".encode() for row in range(len(labels))],
        b"batch_label": f"{name}ing batch 1 of 1".encode(),
        b"fine_labels": labels.tolist(),
        b"coarse_labels": [0] * len(labels),
        b"data": pictures.reshape(len(labels), -1),
    }


def read_pickle(root: Path, name: str) -> dict[bytes, Any]:
    """Load a file written here, to be changed and written again."""
    return pickle.loads((root / "cifar-100-python" / name).read_bytes(), encoding="bytes")


def write_pickle(root: Path, name: str, content: Any) -> None:
    path = root / "cifar-100-python" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))
