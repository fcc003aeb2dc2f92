"""A published data set that is given as a catalog of tables is recognised, and the fix is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cifar_tree import build_cifar_tree
from fma_tree import build_fma_tree

from musicrec.catalog.tables import CatalogError
from musicrec.catalog.validate import load_validated
from musicrec.storage.store import resolve


def lines(folder: Path) -> list[str]:
    with pytest.raises(CatalogError) as caught:
        load_validated(str(folder), resolve(str(folder)), seed=0)
    return [str(problem) for problem in caught.value.problems]


def test_the_raw_tables_of_fma_name_the_option(tmp_path: Path) -> None:
    build_fma_tree(tmp_path / "fma", tracks=20, genres=3, seconds=1.0)
    (tmp_path / "copied").mkdir()
    shutil.copy(tmp_path / "fma" / "fma_metadata" / "tracks.csv", tmp_path / "copied")
    for folder in ("fma", "fma/fma_metadata", "copied"):
        assert lines(tmp_path / folder) == [
            "error: tracks: the FMA data set as published; read it with --catalog-rules.form fma "
            "and --catalog FOLDER, where FOLDER holds fma_metadata/ and the clips (fma_medium/)"
        ]


def test_the_pickles_of_cifar_name_the_option(tmp_path: Path) -> None:
    build_cifar_tree(tmp_path, train=10, test=5)
    for folder in (".", "cifar-100-python"):
        assert lines(tmp_path / folder) == [
            "error: tracks: CIFAR-100 as published; read it with --catalog-rules.form cifar100 "
            "and --catalog FOLDER, where FOLDER holds cifar-100-python/"
        ]


@pytest.mark.parametrize(
    "content", [b"", b"\n\n\n", b"\x80", b"a,b\nc,d\ne,f\n", b"\xff\xfe\n\n\n"]
)
def test_other_tables_keep_their_own_problems(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tracks.csv").write_bytes(content)
    assert not any("as published" in line for line in lines(tmp_path))
