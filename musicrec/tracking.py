"""MLflow as this project uses it: where it lies, and runs that a restart continues instead of doubling."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from typing import Any

from musicrec.config import ConfigError
from musicrec.settings import RegistrySettings
from musicrec.store import Store

KEY_TAG = "musicrec.key"
# Without it MLflow's pages open on traces of language models.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
# MLflow takes parameters of up to 6,000 characters, a hundred at a time.
PARAMETERS_AT_ONCE = 100
LONGEST_PARAMETER = 6000


def connect(settings: RegistrySettings, store: Store) -> str:
    """Point MLflow to its server or database and open the experiment; returns the experiment's id.

    Raises
    ------
    ConfigError
        The store is remote and no tracking URI is given: a database file cannot lie on object storage.
    """
    # Quiet and private; and nothing that is loaded from the registry may be a pickle.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    uri = tracking_uri(settings, store)
    mlflow.set_tracking_uri(uri)
    if mlflow.get_experiment_by_name(settings.experiment) is None:
        location = None if uri.startswith(("http://", "https://")) else store.uri("mlflow-artifacts")
        mlflow.create_experiment(settings.experiment, artifact_location=location, tags=EXPERIMENT_TAGS)
    return mlflow.set_experiment(settings.experiment).experiment_id


def tracking_uri(settings: RegistrySettings, store: Store) -> str:
    """The configured tracking URI, MLFLOW_TRACKING_URI, or an SQLite file in a local store."""
    uri = settings.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if uri is None and not store.is_local:
        raise ConfigError(
            "registry.tracking_uri is not given and the store is not a folder: set it (or MLFLOW_TRACKING_URI) to an MLflow server"
        )
    if uri is None:
        os.makedirs(store.root, exist_ok=True)
    return uri or f"sqlite:///{store.root}/mlflow.db"


@contextlib.contextmanager
def tracked(experiment: str, name: str, key: str, parent: str | None = None) -> Iterator[Any]:
    """The run of this key in an experiment (its id), continued if it exists and started if not; marked failed where the block raises."""
    import mlflow

    found = mlflow.MlflowClient().search_runs([experiment], filter_string=f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
    run_id = found[0].info.run_id if found else None
    with mlflow.start_run(run_id=run_id, experiment_id=experiment, run_name=name, nested=parent is not None) as run:
        mlflow.set_tags({KEY_TAG: key} | ({"mlflow.parentRunId": parent} if parent else {}))
        yield run


def flattened(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested configuration as MLflow's parameters: dotted names, values as JSON text."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flattened(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value[:LONGEST_PARAMETER] if isinstance(value, str) else json.dumps(value)[:LONGEST_PARAMETER]
    return flat


def log_parameters(values: dict[str, Any]) -> None:
    """Log a configuration; repeating it in a continued run changes nothing."""
    import mlflow

    flat = list(flattened(values).items())
    for start in range(0, len(flat), PARAMETERS_AT_ONCE):
        mlflow.log_params(dict(flat[start : start + PARAMETERS_AT_ONCE]))


def log_history(run_id: str, history: list[dict[str, float]], metric: str) -> None:
    """Log the epochs that a run does not have yet, one step an epoch; ``metric`` is what the validation figure is called."""
    import mlflow

    client = mlflow.MlflowClient()
    logged = {logged.step for logged in client.get_metric_history(run_id, f"validation_{metric}")}
    for epoch in history:
        if epoch["epoch"] not in logged:
            values = {"loss": epoch["loss"], "learning_rate": epoch["learning_rate"], f"validation_{metric}": epoch["validation"]}
            mlflow.log_metrics(values, step=int(epoch["epoch"]))
