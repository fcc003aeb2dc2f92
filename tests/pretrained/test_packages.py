"""Files of packages of weights are verified, and errors say what to run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from musicrec.config.packages import PackageError
from musicrec.pretrained.packages import MUSICNN, WeightsPackage


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WeightsPackage:
    information = tmp_path / "some_weights-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Name: some-weights\nVersion: 1.0\n")
    (tmp_path / "some_weights").mkdir()
    (tmp_path / "some_weights" / "file").write_bytes(b"weights")
    # Were the package imported, this would show.
    (tmp_path / "some_weights" / "__init__.py").write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(str(tmp_path))
    digest = hashlib.sha256(b"weights").hexdigest()
    return WeightsPackage("some-weights", "1.0", {"some_weights/file": digest})


def test_a_file_is_read_without_importing_its_package(package: WeightsPackage) -> None:
    assert package.read("some_weights/file") == b"weights"


def test_a_changed_file_is_refused(package: WeightsPackage, tmp_path: Path) -> None:
    (tmp_path / "some_weights" / "file").write_bytes(b"Weights")
    repair = r"run pip install --no-deps --force-reinstall some-weights==1\.0"
    with pytest.raises(PackageError, match=f"has the SHA-256 .* instead of .*; {repair}"):
        package.read("some_weights/file")
    (tmp_path / "some_weights" / "file").unlink()
    with pytest.raises(PackageError, match=f"No such file.*; {repair}"):
        package.read("some_weights/file")


def test_the_model_card_has_the_hashes_that_are_checked() -> None:
    card = Path(__file__).parents[2] / "musicrec" / "pretrained" / "README.md"
    rows = card.read_text(encoding="utf-8").splitlines()
    for path, digest in MUSICNN.files.items():
        assert f"| `{path}` | `{digest}` |" in rows
