"""Read CIFAR-100 as published: the folder ``cifar-100-python``.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. ``train`` and ``test``
are pickles with ``data`` (N, 3072) of bytes, one image per row as (channel, height, width), and
``fine_labels``; ``meta`` has the labels' names. In the catalog an image is a track whose ``audio``
names file and row (from 0), for example ``cifar-100-python/train#42``. It is its own artist, and
its genre is its fine label.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import fs

from musicrec.catalog.published.pickles import ByteArray, PickleError, load_pickle
from musicrec.catalog.tables import (
    LIST_SEPARATOR,
    PROBLEM_LINES,
    Catalog,
    CatalogError,
    Problem,
    limited,
    with_all_artists,
)
from musicrec.schema import ARTISTS, RELATED, TRACKS, conform

FOLDER = "cifar-100-python"
FILES = ("train", "test")
VALIDATION_EVERY = 5  # one of five training images is for validation: 20 % (Whitell 2019)


@dataclass(frozen=True)
class PictureFile:
    """The images and labels of one file; row n of both belongs together.

    The two may differ in length.
    """

    pictures: Sequence[Any]
    labels: Sequence[Any]

    def __len__(self) -> int:
        return max(len(self.pictures), len(self.labels))

    def picture(self, row: int) -> bytes | None:
        """Return the bytes of an image, of any number; None if this row has no image."""
        if row >= len(self.pictures):
            return None
        cell = self.pictures[row]
        cell = cell.array if isinstance(cell, ByteArray) else cell
        return (
            cell.tobytes()
            if isinstance(cell, np.ndarray)
            else cell
            if isinstance(cell, bytes)
            else b""
        )

    def label(self, row: int, classes: int) -> int | None:
        """Return the number of an image's label; None if it has none of the ``classes``."""
        if row >= len(self.labels):
            return None
        label = self.labels[row]
        return label if type(label) is int and 0 <= label < classes else None


def read_cifar100(
    root: str, filesystem: tuple[fs.FileSystem, str], *, seed: int
) -> tuple[Catalog, list[Problem]]:
    """Read the catalog of the published files, and the warnings.

    The published test set is the split "test"; a fifth of the training set is "validation", drawn
    from ``seed`` and alike in each class (within one image). An image without a label of the
    published list is a warning and has no genre: extraction makes it an error row.

    Raises
    ------
    CatalogError
        A file is missing, damaged, asks for code to be run, or lacks its images or labels.
    OSError
        The storage does not answer.
    """
    names = _label_names(filesystem)
    columns: dict[str, list[Any]] = {
        name: [] for name in ("track_id", "audio", "genre_top", "split")
    }
    problems: list[Problem] = []
    for name in FILES:
        pictures = read_pictures(filesystem, name)
        labels = [pictures.label(row, len(names)) for row in range(len(pictures))]
        problems += _label_problems(name, pictures, labels)
        columns["track_id"] += [f"{name}-{row:05d}" for row in range(len(pictures))]
        columns["audio"] += [f"{FOLDER}/{name}#{row}" for row in range(len(pictures))]
        columns["genre_top"] += [None if label is None else names[label] for label in labels]
        columns["split"] += (
            ["test"] * len(labels) if name == "test" else _training_splits(labels, seed)
        )
    genres = [[] if label is None else [label] for label in columns["genre_top"]]
    tracks = conform(
        pa.table({**columns, "artist_id": columns["track_id"], "genres": genres}), TRACKS, "tracks"
    )
    return Catalog(
        root, tracks, with_all_artists(ARTISTS.empty_table(), tracks), RELATED.empty_table()
    ), problems


def read_pictures(filesystem: tuple[fs.FileSystem, str], name: str) -> PictureFile:
    """Read the images and labels of "train" or "test".

    Raises
    ------
    CatalogError
        The file is missing, damaged, asks for code to be run, or lacks its images or labels.
    OSError
        The storage does not answer.
    """
    content = _read(filesystem, name)
    pictures, labels = content.get(b"data"), content.get(b"fine_labels")
    pictures = (
        pictures.array if isinstance(pictures, ByteArray) and pictures.array.ndim == 2 else pictures
    )
    if not isinstance(pictures, np.ndarray | list):
        raise _catalog_error(
            name, "data", "no images", "it must be the published array of bytes (N, 3072)"
        )
    if not isinstance(labels, list):
        raise _catalog_error(
            name, "fine_labels", "no labels", "it must be the published list of numbers"
        )
    return PictureFile(pictures, labels)


def place(audio: str) -> tuple[str, int]:
    """Return file and row of an image from its track's ``audio``."""
    path, _, row = audio.rpartition("#")
    return path.rpartition("/")[2], int(row)


def _read(filesystem: tuple[fs.FileSystem, str], name: str) -> dict[bytes, Any]:
    store, base = filesystem
    path = f"{base.rstrip('/')}/{FOLDER}/{name}"
    if store.get_file_info(path).type != fs.FileType.File:
        raise _catalog_error(
            name,
            None,
            "missing file",
            f"{FOLDER}/{name} must be in the catalog's root: unpack cifar-100-python.tar.gz there",
        )
    with store.open_input_file(path) as file:
        # Read before it is parsed, so that an error below is the file's and not the storage's
        content = file.read_buffer()
    try:
        loaded = load_pickle(io.BytesIO(content))
    except PickleError as error:
        raise _catalog_error(
            name, None, "not readable", f"{error}; use the published file"
        ) from error
    if not isinstance(loaded, dict):
        raise _catalog_error(
            name,
            None,
            "not readable",
            f"it holds a {type(loaded).__name__} instead of a dictionary; use the published file",
        )
    return loaded


def _label_names(filesystem: tuple[fs.FileSystem, str]) -> list[str]:
    names = _read(filesystem, "meta").get(b"fine_label_names")
    if (
        not isinstance(names, list)
        or not names
        or not all(isinstance(name, bytes) for name in names)
    ):
        raise _catalog_error(
            "meta",
            "fine_label_names",
            "no label names",
            "it must be the published list of names",
        )
    texts = [name.decode("utf-8", "replace") for name in names]
    for text in texts:
        if texts.count(text) > 1 or not text.strip() or LIST_SEPARATOR in text:
            raise _catalog_error(
                "meta",
                "fine_label_names",
                "unusable label name",
                "each label needs a unique name without ;",
                text,
            )
    return texts


def _label_problems(name: str, pictures: PictureFile, labels: list[int | None]) -> list[Problem]:
    problems = []
    if len(pictures.pictures) != len(pictures.labels):
        counts = f"{len(pictures.pictures)} images, {len(pictures.labels)} labels"
        problems.append(
            Problem(
                name,
                None,
                "fine_labels",
                counts,
                "not one label per image",
                "images and labels without a counterpart become error rows",
                "warning",
            )
        )
    wrong = [
        row for row, label in enumerate(labels) if label is None and row < len(pictures.labels)
    ]
    fix = "the image will be a row of the errors table"
    shown = [
        Problem(
            name, row + 1, "fine_labels", str(pictures.labels[row]), "unknown label", fix, "warning"
        )
        for row in wrong[:PROBLEM_LINES]
    ]
    return problems + limited(shown, len(wrong))


def _training_splits(labels: list[int | None], seed: int) -> list[str]:
    """Return train or validation for each image.

    Every fifth image in a random order grouped by class is for validation.
    """
    shuffled = np.random.default_rng([seed, len(labels)]).permutation(len(labels))
    classes = np.array([-1 if label is None else label for label in labels], np.int64)
    order = shuffled[np.argsort(classes[shuffled], kind="stable")]
    splits = np.full(len(labels), "train", dtype=object)
    splits[order[VALIDATION_EVERY // 2 :: VALIDATION_EVERY]] = "validation"
    return splits.tolist()


def _catalog_error(
    name: str, column: str | None, rule: str, fix: str, value: str | None = None
) -> CatalogError:
    return CatalogError([Problem(f"{FOLDER}/{name}", None, column, value, rule, fix)])
