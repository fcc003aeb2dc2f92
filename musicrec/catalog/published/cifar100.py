"""CIFAR-100 as published (Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009): the folder ``cifar-100-python``.

``train`` and ``test`` are pickles with ``data`` (N, 3072) of bytes, a picture a row as (channel, height, width), and ``fine_labels``;
``meta`` has the labels' names. As a catalog a picture is a track whose ``audio`` says where it lies, as ``cifar-100-python/train#42``: file
and row, from 0. It is its own artist, its genre is its fine label.
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
VALIDATION_EVERY = (
    5  # one of so many pictures of the training set is for validation: 20 % (thesis section 5)
)


@dataclass(frozen=True)
class PictureFile:
    """One file: its pictures as they stand in it, and as many labels or not; row n of both belongs together."""

    pictures: Sequence[Any]
    labels: Sequence[Any]

    def __len__(self) -> int:
        return max(len(self.pictures), len(self.labels))

    def picture(self, row: int) -> bytes | None:
        """The bytes of a picture, how many it has whatever; None where there is none in this row."""
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
        """The number of a picture's label; None where it has none of the ``classes``."""
        if row >= len(self.labels):
            return None
        label = self.labels[row]
        return label if type(label) is int and 0 <= label < classes else None


def read_cifar100(
    root: str, filesystem: tuple[fs.FileSystem, str], *, seed: int
) -> tuple[Catalog, list[Problem]]:
    """The catalog of the published files, and the warnings.

    The published test set is the split "test"; of the training set a fifth is "validation", drawn from ``seed`` and in each class alike (to
    one picture). A picture without a label of the published list is a warning and has no genre: extraction puts it among the errors.

    Raises
    ------
    CatalogError
        A file is missing, damaged, asks for code to be run, or lacks its pictures or labels.
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
    """The pictures and labels of "train" or "test".

    Raises
    ------
    CatalogError
        The file is missing, damaged, asks for code to be run, or lacks its pictures or labels.
    OSError
        The storage does not answer.
    """
    content = _read(filesystem, name)
    pictures, labels = content.get(b"data"), content.get(b"fine_labels")
    pictures = (
        pictures.array if isinstance(pictures, ByteArray) and pictures.array.ndim == 2 else pictures
    )
    if not isinstance(pictures, np.ndarray | list):
        raise _refused(
            name, "data", "no pictures", "it must be the published array of bytes (N, 3072)"
        )
    if not isinstance(labels, list):
        raise _refused(name, "fine_labels", "no labels", "it must be the published list of numbers")
    return PictureFile(pictures, labels)


def place(audio: str) -> tuple[str, int]:
    """File and row of a picture from its track's ``audio``."""
    path, _, row = audio.rpartition("#")
    return path.rpartition("/")[2], int(row)


def _read(filesystem: tuple[fs.FileSystem, str], name: str) -> dict[bytes, Any]:
    store, base = filesystem
    path = f"{base.rstrip('/')}/{FOLDER}/{name}"
    if store.get_file_info(path).type != fs.FileType.File:
        raise _refused(
            name,
            None,
            "missing file",
            f"{FOLDER}/{name} must lie in the catalog's root: unpack cifar-100-python.tar.gz there",
        )
    with store.open_input_file(path) as file:
        content = (
            file.read_buffer()
        )  # before it is parsed, so that what is wrong below is the file and not the storage
    try:
        loaded = load_pickle(io.BytesIO(content))
    except PickleError as error:
        raise _refused(name, None, "not readable", f"{error}; take the published file") from error
    if not isinstance(loaded, dict):
        raise _refused(
            name,
            None,
            "not readable",
            f"it holds a {type(loaded).__name__} and no dictionary; take the published file",
        )
    return loaded


def _label_names(filesystem: tuple[fs.FileSystem, str]) -> list[str]:
    names = _read(filesystem, "meta").get(b"fine_label_names")
    if (
        not isinstance(names, list)
        or not names
        or not all(isinstance(name, bytes) for name in names)
    ):
        raise _refused(
            "meta",
            "fine_label_names",
            "no names of labels",
            "it must be the published list of names",
        )
    texts = [name.decode("utf-8", "replace") for name in names]
    for text in texts:
        if texts.count(text) > 1 or not text.strip() or LIST_SEPARATOR in text:
            raise _refused(
                "meta",
                "fine_label_names",
                "an unusable name",
                "each label needs its own name, without ;",
                text,
            )
    return texts


def _label_problems(name: str, pictures: PictureFile, labels: list[int | None]) -> list[Problem]:
    problems = []
    if len(pictures.pictures) != len(pictures.labels):
        counts = f"{len(pictures.pictures)} pictures, {len(pictures.labels)} labels"
        problems.append(
            Problem(
                name,
                None,
                "fine_labels",
                counts,
                "not one label a picture",
                "what is alone is an error row",
                "warning",
            )
        )
    wrong = [
        row for row, label in enumerate(labels) if label is None and row < len(pictures.labels)
    ]
    fix = "the picture will be a row of the errors table"
    shown = [
        Problem(
            name, row + 1, "fine_labels", str(pictures.labels[row]), "unknown label", fix, "warning"
        )
        for row in wrong[:PROBLEM_LINES]
    ]
    return problems + limited(shown, len(wrong))


def _training_splits(labels: list[int | None], seed: int) -> list[str]:
    """Train or validation for each picture: each fifth of a random order in which the classes follow each other."""
    shuffled = np.random.default_rng([seed, len(labels)]).permutation(len(labels))
    classes = np.array([-1 if label is None else label for label in labels], np.int64)
    order = shuffled[np.argsort(classes[shuffled], kind="stable")]
    splits = np.full(len(labels), "train", dtype=object)
    splits[order[VALIDATION_EVERY // 2 :: VALIDATION_EVERY]] = "validation"
    return splits.tolist()


def _refused(
    name: str, column: str | None, rule: str, fix: str, value: str | None = None
) -> CatalogError:
    return CatalogError([Problem(f"{FOLDER}/{name}", None, column, value, rule, fix)])
