"""Each run of a process connects to its own MLflow, and jobs continue runs by their key."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import mlflow
import pytest

from musicrec.config.load import preset
from musicrec.config.sections import RegistrySettings
from musicrec.registry import runs as tracking
from musicrec.registry.training_log import run_key
from musicrec.storage.store import Store


def test_two_stores_of_one_process_have_a_database_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(tracking.URI_VARIABLE, raising=False)
    uris = []
    for name in ("one", "two"):
        tracking.connect(RegistrySettings(), Store(str(tmp_path / name)))
        uris.append(mlflow.get_tracking_uri())
    assert uris == [f"sqlite:///{tmp_path}/one/mlflow.db", f"sqlite:///{tmp_path}/two/mlflow.db"]
    assert tracking.URI_VARIABLE not in os.environ


def test_the_users_variable_is_kept_and_a_configured_uri_overrides_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, configured = (f"sqlite:///{tmp_path}/{name}.db" for name in ("users", "configured"))
    monkeypatch.setenv(tracking.URI_VARIABLE, users)
    store = Store(str(tmp_path / "store"))
    assert tracking.tracking_uri(RegistrySettings(), store) == users
    assert tracking.tracking_uri(RegistrySettings(tracking_uri=configured), store) == configured


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"launch": "task"}, True),
        (
            {
                "workers": 8,
                "minimum_workers": 2,
                "gpu": True,
                "parallel_runs": 4,
                "maximum_failures": 0,
            },
            True,
        ),
        ({"batch_factor": 2}, False),
        ({"precision": "bfloat16"}, False),
        ({"folds": 3}, False),
    ],
)
def test_a_run_continued_with_other_workers_is_the_same_run(
    change: dict[str, object], same: bool
) -> None:
    config = preset("demo")
    changed = dataclasses.replace(config, train=dataclasses.replace(config.train, **change))
    assert (run_key(changed, "catalog") == run_key(config, "catalog")) is same


def test_a_store_of_any_name_holds_its_database_and_artifacts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "ü #1 %20 ?x"
    monkeypatch.delenv(tracking.URI_VARIABLE, raising=False)
    store = Store((tmp_path / name).as_uri())
    experiment = tracking.connect(RegistrySettings(), store)
    with tracking.tracked(experiment, "run", "key") as run:
        mlflow.log_dict({"a": 1}, "facts.json")
    assert (tmp_path / name / "mlflow.db").is_file()
    assert mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/facts.json") == {"a": 1}
    assert [path.parents[2].name for path in tmp_path.rglob("facts.json")] == ["mlflow-artifacts"]
    assert next(tmp_path.rglob("facts.json")).is_relative_to(tmp_path / name)


@pytest.mark.parametrize("spelling", ["file:///a%20b/runs", "file://localhost/a%20b/runs"])
def test_a_tracking_uri_of_a_folder_is_given_in_one_spelling(spelling: str, tmp_path: Path) -> None:
    settings = RegistrySettings(tracking_uri=spelling)
    assert tracking.tracking_uri(settings, Store(str(tmp_path))) == "file:///a%20b/runs"


def test_an_empty_variable_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tracking.URI_VARIABLE, "")
    store = Store(str(tmp_path))
    assert tracking.tracking_uri(RegistrySettings(), store) == f"sqlite:///{tmp_path}/mlflow.db"
