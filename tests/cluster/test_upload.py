"""What `ray job submit --working-dir .` carries to a cluster: what the jobs need, and neither data
nor secrets."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from manifests import ROOT
from ray._private.runtime_env.packaging import create_package

NEEDED = (
    "jobs/retrain.py",
    "musicrec/storage/store.py",
    "musicrec/config/presets/demo.yaml",
    "tune/search.py",
    "tune/spaces/time.yaml",
)
PRIVATE = (
    ".env",
    ".env.production",
    ".aws/credentials",
    ".netrc",
    "keys/id_ed25519",
    "keys/server.pem",
    "keys/private.key",
)
DATA = (
    "musicrec-store/extract/key/index.parquet",
    "store-1/features/key/parts/0000-000000.parquet",
    "mlflow.db",
    "mlruns/0/meta.yaml",
)
UNREAD = (
    "tests/conftest.py",
    "musicrec/__pycache__/store.cpython-311.pyc",
    ".venv/bin/python",
    "build/lib/musicrec/store.py",
)
LARGEST_BYTES = (
    5 * 2**20
)  # the Jobs API takes 100 MiB; the repository's own code has half a megabyte


@pytest.fixture(scope="module")
def uploaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package that Ray makes of this repository with files in it that are not to leave the
    machine."""
    folder = tmp_path_factory.mktemp("upload")
    tree = folder / "repository"
    shutil.copytree(
        ROOT, tree, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", "*store")
    )
    for name in (*PRIVATE, *DATA, *UNREAD):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("not to be uploaded")
    create_package(str(tree), folder / "package.zip", include_gitignore=True, excludes=[])
    return folder / "package.zip"


def test_the_upload_has_what_jobs_need_and_nothing_that_is_private(uploaded: Path) -> None:
    names = set(zipfile.ZipFile(uploaded).namelist())
    assert set(NEEDED) <= names
    assert names & {*PRIVATE, *DATA, *UNREAD} == set()
    assert uploaded.stat().st_size < LARGEST_BYTES
