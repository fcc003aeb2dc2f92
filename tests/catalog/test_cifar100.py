from __future__ import annotations

import os
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from cifar_tree import build_cifar_tree, read_pickle, write_pickle

from musicrec.catalog.published.cifar100 import place, read_cifar100, read_pictures
from musicrec.catalog.tables import Catalog, CatalogError
from musicrec.catalog.validate import validate
from musicrec.storage.store import resolve


def read(root: Path, seed: int = 0) -> Catalog:
    catalog, problems = read_cifar100(str(root), resolve(str(root)), seed=seed)
    assert problems == []
    return catalog


def test_an_image_is_a_track_of_its_own_artist(tmp_path: Path) -> None:
    catalog = read(build_cifar_tree(tmp_path, train=10, test=5))
    tracks = catalog.tracks.to_pylist()
    assert [row["track_id"] for row in tracks[8:12]] == [
        "train-00008",
        "train-00009",
        "test-00000",
        "test-00001",
    ]
    assert all(row["artist_id"] == row["track_id"] for row in tracks)
    assert [row["genre_top"] for row in tracks[10:]] == [
        "apple",
        "aquarium_fish",
        "baby",
        "bear",
        "beaver",
    ]
    assert all(row["genres"] == [row["genre_top"]] for row in tracks)
    assert place(tracks[9]["audio"]) == ("train", 9)
    assert catalog.artists.num_rows == 15
    assert catalog.related.num_rows == 0
    assert [problem.rule for problem in validate(catalog) if problem.severity == "error"] == [
        "empty table"
    ]  # there are no relations


def test_images_equal_the_file(tmp_path: Path) -> None:
    root = build_cifar_tree(tmp_path, train=10, test=5)
    pictures, written = read_pictures(resolve(str(root)), "test"), read_pickle(root, "test")
    assert [pictures.picture(row) for row in range(5)] == [
        row.tobytes() for row in written[b"data"]
    ]
    written[b"data"] = np.asfortranarray(written[b"data"])
    write_pickle(root, "test", written)
    assert read_pictures(resolve(str(root)), "test").picture(3) == written[b"data"][3].tobytes()


def test_a_fifth_of_each_class_of_the_training_set_is_for_validation(tmp_path: Path) -> None:
    root = build_cifar_tree(tmp_path, train=100, test=30, classes=5)
    splits = [read(root, seed).tracks.column("split").to_pylist() for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]
    assert splits[0][100:] == ["test"] * 30
    genres = read(root).tracks.column("genre_top").to_pylist()
    held_out = Counter(
        genre for genre, split in zip(genres, splits[0], strict=True) if split == "validation"
    )
    assert set(held_out.values()) == {4}
    assert len(held_out) == 5


def test_classes_not_divisible_by_five_differ_by_one_image(tmp_path: Path) -> None:
    tracks = read(build_cifar_tree(tmp_path, train=93, test=10, classes=7)).tracks.to_pylist()
    held_out = Counter(row["genre_top"] for row in tracks if row["split"] == "validation")
    assert abs(sum(held_out.values()) - 93 / 5) < 1
    assert all(abs(count - 93 / 7 / 5) < 1.4 for count in held_out.values())
    assert len(held_out) == 7


class Hostile:
    """Call os.system when unpickled normally."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


@pytest.mark.parametrize("name", ["meta", "train", "test"])
def test_a_pickle_that_asks_for_code_is_refused_by_name_and_not_run(
    tmp_path: Path, name: str
) -> None:
    root = build_cifar_tree(tmp_path / "catalog", train=10, test=5)
    ran = tmp_path / "ran"
    content = read_pickle(root, name) | {b"more": Hostile(f"touch {ran}")}
    write_pickle(root, name, content)
    with pytest.raises(
        CatalogError, match=rf"cifar-100-python/{name}: not readable; it asks for posix.system"
    ):
        read(root)
    assert not ran.exists()
    pickle.loads((root / "cifar-100-python" / name).read_bytes())
    assert ran.exists()  # the same file runs it with the standard unpickler


@pytest.mark.parametrize(
    ("call", "asked"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"cnumpy\nload\n(S'/x'\ntR.", "numpy.load"),
        (b"cnumpy.core.multiarray\n_vec_string\n(tR.", "numpy.core.multiarray._vec_string"),
        (b"c_codecs\ndecode\n(tR.", "_codecs.decode"),
        (b"c_codecs\nencode\n(Vx\nVzip\ntR.", "encoding 'zip'"),
        (b"cnumpy\ndtype\n(VO8\nI0\nI1\ntR.", "array of 'O8'"),
    ],
)
def test_only_what_arrays_of_bytes_need_is_allowed(tmp_path: Path, call: bytes, asked: str) -> None:
    root = build_cifar_tree(tmp_path, train=10, test=5)
    (root / "cifar-100-python" / "train").write_bytes(call)
    with pytest.raises(CatalogError) as caught:
        read(root)
    assert asked in str(caught.value)


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_truncated_file_is_reported(tmp_path: Path, cut: int) -> None:
    root = build_cifar_tree(tmp_path, train=10, test=5)
    path = root / "cifar-100-python" / "train"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CatalogError, match="cifar-100-python/train: not readable"):
        read(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list instead of a dictionary"),
        ({b"fine_labels": [0]}, "data: no images"),
        ({b"data": np.zeros((1, 3072), np.uint8)}, "fine_labels: no labels"),
        ({b"data": np.zeros((1, 3072), np.float32), b"fine_labels": [0]}, "not of unsigned bytes"),
    ],
)
def test_a_file_without_images_or_labels_is_refused(
    tmp_path: Path, content: object, message: str
) -> None:
    root = build_cifar_tree(tmp_path, train=10, test=5)
    write_pickle(root, "train", content)
    with pytest.raises(CatalogError) as caught:
        read(root)
    assert message in str(caught.value)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    root = build_cifar_tree(tmp_path, train=10, test=5)
    (root / "cifar-100-python" / "test").unlink()
    with pytest.raises(CatalogError, match="cifar-100-python/test must be in the catalog's root"):
        read(root)


@pytest.mark.parametrize(
    "names", [[], [b"apple", b"apple"], [b"apple", b" "], [b"apple;pear"], b"apple"]
)
def test_label_names_must_be_distinct(tmp_path: Path, names: object) -> None:
    root = build_cifar_tree(tmp_path, train=10, test=5)
    write_pickle(root, "meta", {b"fine_label_names": names})
    with pytest.raises(CatalogError, match="cifar-100-python/meta, fine_label_names"):
        read(root)


def test_an_unknown_label_is_a_warning(tmp_path: Path) -> None:
    root = build_cifar_tree(tmp_path, train=10, test=5)
    content = read_pickle(root, "train")
    content[b"fine_labels"][3:6] = [99, -1, True]
    write_pickle(root, "train", content)
    catalog, problems = read_cifar100(str(root), resolve(str(root)), seed=0)
    assert [(problem.row, problem.value, problem.severity) for problem in problems] == [
        (4, "99", "warning"),
        (5, "-1", "warning"),
        (6, "True", "warning"),
    ]
    assert [
        row
        for row, genre in enumerate(catalog.tracks.column("genre_top").to_pylist())
        if genre is None
    ] == [3, 4, 5]


def test_more_labels_than_images_is_a_warning(tmp_path: Path) -> None:
    root = build_cifar_tree(tmp_path, train=10, test=5)
    content = read_pickle(root, "train")
    content[b"fine_labels"] += [0, 1]
    write_pickle(root, "train", content)
    catalog, problems = read_cifar100(str(root), resolve(str(root)), seed=0)
    assert [str(problem) for problem in problems] == [
        "warning: train, fine_labels '10 images, 12 labels': not one label per image; "
        "images and labels without a counterpart become error rows"
    ]
    assert catalog.tracks.num_rows == 17
