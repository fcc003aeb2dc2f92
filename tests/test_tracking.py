"""Where MLflow lies is decided anew for each run of a process."""

from __future__ import annotations

import os
from pathlib import Path

import mlflow
import pytest

from musicrec import tracking
from musicrec.settings import RegistrySettings
from musicrec.store import Store


def test_two_stores_of_one_process_have_a_database_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tracking.URI_VARIABLE, raising=False)
    uris = []
    for name in ("one", "two"):
        tracking.connect(RegistrySettings(), Store(str(tmp_path / name)))
        uris.append(mlflow.get_tracking_uri())
    assert uris == [f"sqlite:///{tmp_path}/one/mlflow.db", f"sqlite:///{tmp_path}/two/mlflow.db"]
    assert tracking.URI_VARIABLE not in os.environ


def test_the_users_variable_is_kept_and_a_configured_uri_comes_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users, configured = (f"sqlite:///{tmp_path}/{name}.db" for name in ("users", "configured"))
    monkeypatch.setenv(tracking.URI_VARIABLE, users)
    store = Store(str(tmp_path / "store"))
    assert tracking.tracking_uri(RegistrySettings(), store) == users
    assert tracking.tracking_uri(RegistrySettings(tracking_uri=configured), store) == configured
