"""Connect to MLflow, and log runs that a restarted job continues instead of duplicating."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from musicrec.config.load import ConfigError
from musicrec.config.sections import RegistrySettings
from musicrec.storage.s3 import ATTEMPTS, REQUEST_TIMEOUT_SECONDS
from musicrec.storage.store import Store
from musicrec.storage.uri import is_file_uri, local_path

KEY_TAG = "musicrec.key"
URI_VARIABLE = "MLFLOW_TRACKING_URI"
# Without this tag MLflow's pages open on traces of language models.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
# MLflow accepts parameters of up to 6,000 characters, 100 per request, and 1,000 metrics.
PARAMETERS_AT_ONCE = 100
METRICS_AT_ONCE = 1000
LONGEST_PARAMETER = 6000
# Of MLflow's clients, unless the user's environment has them. Three retries take 14 s: a server
# that is down for long must not hold up a training run, whose log waits (``DeferredLog``). Its S3
# client, which takes no settings but these, retries as the store's does.
RETRIES = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(REQUEST_TIMEOUT_SECONDS),
    "AWS_RETRY_MODE": "standard",
    "AWS_MAX_ATTEMPTS": str(ATTEMPTS),
}


def connect(settings: RegistrySettings, store: Store) -> str:
    """Point MLflow to its server or database, open the experiment, and return its id.

    Raises
    ------
    ConfigError
        The store is remote and no tracking URI is given: object storage cannot hold a database.
    """
    # No telemetry, little output, and no pickles: a pickle from the registry could execute code.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # It would print plain text between the lines of JSON.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    uri = tracking_uri(settings, store)
    _set_tracking_uri(uri)
    for variable, value in RETRIES.items():
        os.environ.setdefault(variable, value)
    if mlflow.get_experiment_by_name(settings.experiment) is None:
        mlflow.create_experiment(
            settings.experiment,
            artifact_location=_artifact_location(uri, store),
            tags=EXPERIMENT_TAGS,
        )
    return mlflow.set_experiment(settings.experiment).experiment_id


def _artifact_location(uri: str, store: Store) -> str | None:
    """Return where a database's runs keep their files, as a URI; a server decides that itself."""
    if uri.startswith(("http://", "https://")):
        return None
    location = store.uri("mlflow-artifacts")
    return Path(location).as_uri() if store.is_local else location


def _set_tracking_uri(uri: str) -> None:
    """Set MLflow's tracking URI without leaving it in the environment.

    MLflow also writes it there, where the next store's run in this process would take it for the
    user's setting.
    """
    import mlflow

    given = os.environ.get(URI_VARIABLE)
    mlflow.set_tracking_uri(uri)
    if given is None:
        os.environ.pop(URI_VARIABLE, None)


def tracking_uri(settings: RegistrySettings, store: Store) -> str:
    """Return the configured URI, else MLFLOW_TRACKING_URI, else an SQLite file in a local store."""
    uri = settings.tracking_uri or os.environ.get(URI_VARIABLE) or None
    if uri is None and not store.is_local:
        raise ConfigError(
            "registry.tracking_uri is not given and the store is not a folder: "
            "set it (or MLFLOW_TRACKING_URI) to an MLflow server"
        )
    if uri is None:
        os.makedirs(store.root, exist_ok=True)
        return _database_uri(f"{store.root}/mlflow.db")
    return Path(local_path(uri)).as_uri() if is_file_uri(uri) else uri


def _database_uri(path: str) -> str:
    """Return the URI of an SQLite file; ``%20`` and ``?`` of a folder's name need a code."""
    from sqlalchemy import URL, make_url

    uri = f"sqlite:///{path}"
    if make_url(uri).database == path:
        return uri
    return URL.create("sqlite", database=path).render_as_string()


def is_configured(settings: RegistrySettings, store: Store) -> bool:
    """Return whether there is an MLflow to log to."""
    return bool(settings.tracking_uri or os.environ.get(URI_VARIABLE) or store.is_local)


@contextlib.contextmanager
def tracked(
    experiment: str, name: str, key: str, parent: str | None = None, system_metrics: bool = False
) -> Iterator[Any]:
    """Activate the run with this key for a ``with`` block, and create it if it does not exist.

    The run is marked failed if the block raises. ``experiment`` is the experiment's id.
    """
    import mlflow

    run_id = find_or_create(mlflow.MlflowClient(), experiment, name, key, parent)
    with mlflow.start_run(
        run_id=run_id, nested=parent is not None, log_system_metrics=system_metrics
    ) as run:
        yield run


def find_or_create(client: Any, experiment: str, name: str, key: str, parent: str | None) -> str:
    """Return the id of the run with this key, and create the run if it does not exist."""
    existing = client.search_runs(
        [experiment], filter_string=f"tags.`{KEY_TAG}` = '{key}'", max_results=1
    )
    if existing:
        return existing[0].info.run_id
    tags = {KEY_TAG: key} | ({"mlflow.parentRunId": parent} if parent else {})
    return client.create_run(experiment, run_name=name, tags=tags).info.run_id


def dataset(root: str, key: str) -> Any:
    """Return a catalog as an MLflow dataset: its root and the fingerprint of its content."""
    from mlflow.data.dataset_source_registry import resolve_dataset_source
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag

    with warnings.catch_warnings():
        # MLflow registers its source of local files under two schemes and warns about every path.
        warnings.filterwarnings(
            "ignore", message="The specified dataset source can be interpreted in multiple ways"
        )
        source = resolve_dataset_source(root)
    identity = MetaDataset(source, name=root.rstrip("/").rpartition("/")[2], digest=key)
    return DatasetInput(identity._to_mlflow_entity(), [InputTag("mlflow.data.context", "training")])


def flattened(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten a nested configuration into MLflow parameters: dotted names, values as JSON text."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flattened(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = (
                value[:LONGEST_PARAMETER]
                if isinstance(value, str)
                else json.dumps(value)[:LONGEST_PARAMETER]
            )
    return flat


def log_parameters(values: dict[str, Any]) -> None:
    """Log a configuration to the active run; in a continued run, parameters keep their values."""
    import mlflow

    log_parameters_of(mlflow.MlflowClient(), mlflow.active_run().info.run_id, values)


def log_parameters_of(client: Any, run_id: str, values: dict[str, Any]) -> None:
    """Log a configuration to a run.

    A parameter that the run already has keeps its value, since settings that do not change results
    (where a run works, for instance) may differ from job to job.
    """
    from mlflow.entities import Param

    logged = client.get_run(run_id).data.params
    flat = [Param(name, value) for name, value in flattened(values).items() if name not in logged]
    for start in range(0, len(flat), PARAMETERS_AT_ONCE):
        client.log_batch(run_id, params=flat[start : start + PARAMETERS_AT_ONCE])


def log_history(client: Any, run_id: str, history: list[dict[str, float]], metric: str) -> None:
    """Log the epochs that a run does not have yet; ``metric`` names the validation metric."""
    logged = {logged.step for logged in client.get_metric_history(run_id, f"validation_{metric}")}
    log_epochs(client, run_id, [epoch for epoch in history if epoch["epoch"] not in logged], metric)


def log_epochs(
    client: Any,
    run_id: str,
    epochs: list[dict[str, float]],
    metric: str,
    now: float | None = None,
) -> None:
    """Log each epoch as one step, with the present time or ``now`` (seconds)."""
    from mlflow.entities import Metric

    logged_at = int((time.time() if now is None else now) * 1000)
    names = {
        "loss": "loss",
        "learning_rate": "learning_rate",
        "validation": f"validation_{metric}",
        "seconds": "epoch_seconds",
    }
    values = [
        Metric(shown, epoch[name], logged_at, int(epoch["epoch"]))
        for epoch in epochs
        for name, shown in names.items()
    ]
    for start in range(0, len(values), METRICS_AT_ONCE):
        client.log_batch(run_id, metrics=values[start : start + METRICS_AT_ONCE])
