"""MLflow as this project uses it: where it lies, and runs that a restart continues instead of doubling."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import warnings
from collections.abc import Iterator
from typing import Any

from musicrec.config.load import ConfigError
from musicrec.config.sections import RegistrySettings
from musicrec.storage.store import Store

KEY_TAG = "musicrec.key"
URI_VARIABLE = "MLFLOW_TRACKING_URI"
# Without it MLflow's pages open on traces of language models.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
# MLflow takes parameters of up to 6,000 characters, a hundred at a time, and a thousand metrics.
PARAMETERS_AT_ONCE = 100
METRICS_AT_ONCE = 1000
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
    os.environ.setdefault(
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"
    )  # lines of prose between the lines of JSON
    logging.getLogger("alembic").setLevel(logging.WARNING)
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    uri = tracking_uri(settings, store)
    _set_tracking_uri(uri)
    os.environ.setdefault(
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3"
    )  # a server that is gone for long must not hold up a training
    if mlflow.get_experiment_by_name(settings.experiment) is None:
        location = (
            None if uri.startswith(("http://", "https://")) else store.uri("mlflow-artifacts")
        )
        mlflow.create_experiment(
            settings.experiment, artifact_location=location, tags=EXPERIMENT_TAGS
        )
    return mlflow.set_experiment(settings.experiment).experiment_id


def _set_tracking_uri(uri: str) -> None:
    """MLflow writes the URI into the environment as well, where the next store's run in this process would take it for the user's."""
    import mlflow

    given = os.environ.get(URI_VARIABLE)
    mlflow.set_tracking_uri(uri)
    if given is None:
        os.environ.pop(URI_VARIABLE, None)


def tracking_uri(settings: RegistrySettings, store: Store) -> str:
    """The configured tracking URI, MLFLOW_TRACKING_URI, or an SQLite file in a local store."""
    uri = settings.tracking_uri or os.environ.get(URI_VARIABLE)
    if uri is None and not store.is_local:
        raise ConfigError(
            "registry.tracking_uri is not given and the store is not a folder: set it (or MLFLOW_TRACKING_URI) to an MLflow server"
        )
    if uri is None:
        os.makedirs(store.root, exist_ok=True)
    return uri or f"sqlite:///{store.root}/mlflow.db"


def is_configured(settings: RegistrySettings, store: Store) -> bool:
    """Whether there is an MLflow to log to."""
    return bool(settings.tracking_uri or os.environ.get(URI_VARIABLE) or store.is_local)


@contextlib.contextmanager
def tracked(
    experiment: str, name: str, key: str, parent: str | None = None, system_metrics: bool = False
) -> Iterator[Any]:
    """The run of this key in an experiment (its id), continued if it exists and started if not; marked failed where the block raises."""
    import mlflow

    run_id = find_or_create(mlflow.MlflowClient(), experiment, name, key, parent)
    with mlflow.start_run(
        run_id=run_id, nested=parent is not None, log_system_metrics=system_metrics
    ) as run:
        yield run


def find_or_create(client: Any, experiment: str, name: str, key: str, parent: str | None) -> str:
    """The id of the run of this key, continued if it exists and started if not."""
    found = client.search_runs(
        [experiment], filter_string=f"tags.`{KEY_TAG}` = '{key}'", max_results=1
    )
    if found:
        return found[0].info.run_id
    tags = {KEY_TAG: key} | ({"mlflow.parentRunId": parent} if parent else {})
    return client.create_run(experiment, run_name=name, tags=tags).info.run_id


def dataset(root: str, key: str) -> Any:
    """A catalog as MLflow's dataset: where it was read, and the fingerprint of its content."""
    from mlflow.data.dataset_source_registry import resolve_dataset_source
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag

    with warnings.catch_warnings():
        # MLflow finds its one source of local files registered under two schemes, and says so of every path.
        warnings.filterwarnings(
            "ignore", message="The specified dataset source can be interpreted in multiple ways"
        )
        source = resolve_dataset_source(root)
    identity = MetaDataset(source, name=root.rstrip("/").rpartition("/")[2], digest=key)
    return DatasetInput(identity._to_mlflow_entity(), [InputTag("mlflow.data.context", "training")])


def flattened(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested configuration as MLflow's parameters: dotted names, values as JSON text."""
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
    """Log a configuration on the active run; repeating it in a continued run changes nothing."""
    import mlflow

    log_parameters_of(mlflow.MlflowClient(), mlflow.active_run().info.run_id, values)


def log_parameters_of(client: Any, run_id: str, values: dict[str, Any]) -> None:
    """Log a configuration. A parameter that the run has already keeps its value: where a run works may change from job to job."""
    from mlflow.entities import Param

    known = client.get_run(run_id).data.params
    flat = [Param(name, value) for name, value in flattened(values).items() if name not in known]
    for start in range(0, len(flat), PARAMETERS_AT_ONCE):
        client.log_batch(run_id, params=flat[start : start + PARAMETERS_AT_ONCE])


def log_history(client: Any, run_id: str, history: list[dict[str, float]], metric: str) -> None:
    """Log the epochs that a run does not have yet; ``metric`` is what the validation figure is called."""
    logged = {logged.step for logged in client.get_metric_history(run_id, f"validation_{metric}")}
    log_epochs(client, run_id, [epoch for epoch in history if epoch["epoch"] not in logged], metric)


def log_epochs(client: Any, run_id: str, epochs: list[dict[str, float]], metric: str) -> None:
    """Log epochs, one step each."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    names = {
        "loss": "loss",
        "learning_rate": "learning_rate",
        "validation": f"validation_{metric}",
        "seconds": "epoch_seconds",
    }
    values = [
        Metric(shown, epoch[name], now, int(epoch["epoch"]))
        for epoch in epochs
        for name, shown in names.items()
    ]
    for start in range(0, len(values), METRICS_AT_ONCE):
        client.log_batch(run_id, metrics=values[start : start + METRICS_AT_ONCE])
