"""Pretrained networks in a configuration: what they need, and that nothing changes without them."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import subprocess
import sys
import time
from pathlib import Path

import pytest

from musicrec.config.checks import check
from musicrec.config.errors import ConfigError
from musicrec.config.jobs import Config
from musicrec.config.load import preset, presets
from musicrec.config.packages import PackageError, check_installed
from musicrec.config.sections import CatalogSettings, ExtractSettings, SubmodelSettings
from musicrec.registry.training_log import run_key

ROOT = Path(__file__).parents[2]
INSTALL = r"run pip install --no-deps musicnn==0\.1\.0"
MUSICNN = SubmodelSettings(architecture="mlp", feature="musicnn", standardise="per_feature_bin")


def without_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let no package be found, as in an environment without it."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])


def install(folder: Path, version: str) -> None:
    """Write what pip writes of a package that was installed into a folder."""
    information = folder / f"musicnn-{version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Name: musicnn\nVersion: {version}\n")


def test_no_preset_needs_a_package_of_weights() -> None:
    assert not any(preset(name).extract.pretrained for name in presets())


def test_a_missing_package_is_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_package(monkeypatch, tmp_path)
    config = Config(extract=ExtractSettings(pretrained=("musicnn",)))
    branches = dataclasses.replace(config.ensemble, branches=("year",))
    config = dataclasses.replace(config, ensemble=branches)
    with pytest.raises(ConfigError, match=f"pretrained 'musicnn' needs the package.*{INSTALL}"):
        check(config)
    install(tmp_path, "0.0.9")
    with pytest.raises(PackageError, match=rf"needs version 0\.1\.0.*0\.0\.9 is in.*{INSTALL}"):
        check(config)
    (tmp_path / "musicnn-0.0.9.dist-info" / "METADATA").unlink()
    (tmp_path / "musicnn-0.0.9.dist-info").rmdir()
    install(tmp_path, "0.1.0")
    check(config)


def test_an_error_of_the_package_is_no_error_of_a_file() -> None:
    # Extraction counts what readers raise as an error of the file, but for these two kinds.
    with pytest.raises(ImportError, match="not installed"):
        check_installed("no-such-package-of-weights", "1", "a test")


def test_a_job_without_the_package_ends_at_once(tmp_path: Path) -> None:
    try:
        importlib.metadata.version("musicnn")
    except importlib.metadata.PackageNotFoundError:
        pass
    else:
        pytest.skip("the package is installed")
    started = time.monotonic()
    command = ["jobs/retrain.py", "--extract.pretrained", "musicnn", "--store", str(tmp_path / "s")]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "error: extract.pretrained 'musicnn' needs the package 'musicnn'" in done.stderr
    assert "pip install --no-deps musicnn==0.1.0" in done.stderr
    assert not (tmp_path / "s").exists()
    assert time.monotonic() - started < 20  # the imports of a loaded machine


def test_a_model_of_its_vectors_needs_them_extracted() -> None:
    config = preset("demo")
    with pytest.raises(ConfigError, match=r"which extract\.pretrained does not list: add it there"):
        check(dataclasses.replace(config, models={**config.models, "musicnn": MUSICNN}))


def test_a_run_without_them_keeps_the_key_of_older_runs() -> None:
    # As computed before extract.pretrained, ranking, plays and relations held out existed.
    thesis = preset("thesis-webapi")
    assert run_key(thesis, "catalog") == "9ff3e447bc979516"
    extract = dataclasses.replace(thesis.extract, pretrained=("musicnn",))
    changed = dataclasses.replace(thesis, extract=extract)
    assert run_key(changed, "catalog") != "9ff3e447bc979516"


def test_pictures_have_no_pretrained_vectors() -> None:
    config = preset("thesis-cifar100")
    assert config.catalog_rules == CatalogSettings(form="cifar100")
    extract = dataclasses.replace(config.extract, pretrained=("musicnn",))
    with pytest.raises(ConfigError, match=r"'musicnn', which reads recordings.*leave it out"):
        check(dataclasses.replace(config, extract=extract))
