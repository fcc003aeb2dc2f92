"""Trainings in MLflow while they run: one parent run a configuration and catalog, one child a training; a restart continues both.

What a driver that died did not log is logged by the next one from the training's record, so that every epoch is there once.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import musicrec
from musicrec.config.jobs import Config
from musicrec.config.load import resolved
from musicrec.evaluation.learning_plot import plot_learning
from musicrec.registry import runs as tracking
from musicrec.storage.store import Store, fingerprint
from musicrec.telemetry.progress import event
from musicrec.telemetry.redact import redacted

# Of a run whose training failed: why, on one line.
REASON_TAG = "musicrec.reason"
# Sections that say where and how a run works and is shown, not what comes out of it.
ELSEWHERE = (
    "store",
    "ray",
    "registry",
    "lock",
    "report",
    "table",
    "seeds",
    "rows",
    "counts",
    "submodels",
    "study",
)


def run_key(config: Config, catalog_key: str) -> str:
    """What decides the MLflow run of a configuration on a catalog: every job of it continues the same one."""
    values = {name: value for name, value in resolved(config).items() if name not in ELSEWHERE}
    values["train"] = config.train.key_fields() | {
        "folds": config.train.folds
    }  # more workers, or other ones, go on with the same run
    return fingerprint("run", catalog_key, values)


class TrainingLog:
    """The MLflow runs of some trainings.

    Parameters
    ----------
    parent
        The id of the run that the trainings' runs are children of.
    """

    def __init__(self, client: Any, experiment: str, parent: str, key: str, dataset: Any) -> None:
        self.client, self.experiment, self.parent, self.key, self.dataset = (
            client,
            experiment,
            parent,
            key,
            dataset,
        )
        self.runs: dict[str, str] = {}

    def begin(self, name: str, training_key: str, parameters: dict[str, Any]) -> None:
        """Find or start the run of a training."""
        run_id = tracking.find_or_create(
            self.client, self.experiment, name, f"{self.key}-{training_key}", self.parent
        )
        self.runs[name] = run_id
        tracking.log_parameters_of(self.client, run_id, parameters)
        self.client.log_inputs(run_id, datasets=[self.dataset])

    def epoch(self, name: str, metric: str, record: dict[str, float]) -> None:
        """Log one epoch."""
        tracking.log_epochs(self.client, self.runs[name], [record], metric)

    def end(self, name: str, metric: str, history: list[dict[str, float]]) -> None:
        """Log the epochs that are not there yet and the picture of all of them, and close the run."""
        run_id = self.runs[name]
        tracking.log_history(self.client, run_id, history, metric)
        self.client.log_figure(run_id, plot_learning(history, metric, name), "learning_curves.png")
        if REASON_TAG in self.client.get_run(run_id).data.tags:  # it failed in an earlier process
            self.client.delete_tag(run_id, REASON_TAG)
        self.client.set_terminated(run_id)

    def fail(self, name: str, reason: str) -> None:
        """Close the run of a training that failed, with why as a tag."""
        self.client.set_tag(self.runs[name], REASON_TAG, redacted(reason))
        self.client.set_terminated(self.runs[name], "FAILED")

    def scores(self, name: str, values: dict[str, float], figures: dict[str, Any]) -> None:
        """Keep the test scores of a training that ended, and figures of matplotlib's by file name, with its run."""
        from mlflow.entities import Metric

        run_id, now = self.runs[name], int(time.time() * 1000)
        self.client.log_batch(
            run_id,
            metrics=[Metric(f"test_{score}", value, now, 0) for score, value in values.items()],
        )
        for file, figure in figures.items():
            self.client.log_figure(run_id, figure, file)
        self.client.set_terminated(run_id)

    def text(self, name: str, text: str) -> None:
        """Keep a text file with the parent run."""
        self.client.log_text(self.parent, text, name)

    def picture(self, name: str, figure: Any) -> None:
        """Keep a figure of matplotlib's with the parent run."""
        self.client.log_figure(self.parent, figure, name)

    def folder(self, name: str, path: str) -> None:
        """Keep the files of a folder of this machine with the parent run."""
        self.client.log_artifacts(self.parent, path, name)


class NullTrainingLog(TrainingLog):
    """No MLflow."""

    def __init__(self) -> None:
        """Nothing is needed to log nothing."""

    def begin(self, name: str, training_key: str, parameters: dict[str, Any]) -> None:
        """Nothing."""

    def epoch(self, name: str, metric: str, record: dict[str, float]) -> None:
        """Nothing."""

    def end(self, name: str, metric: str, history: list[dict[str, float]]) -> None:
        """Nothing."""

    def fail(self, name: str, reason: str) -> None:
        """Nothing."""

    def scores(self, name: str, values: dict[str, float], figures: dict[str, Any]) -> None:
        """Nothing."""

    def text(self, name: str, text: str) -> None:
        """Nothing."""

    def picture(self, name: str, figure: Any) -> None:
        """Nothing."""

    def folder(self, name: str, path: str) -> None:
        """Nothing."""


@contextlib.contextmanager
def training_log(
    config: Config,
    store: Store,
    catalog_key: str,
    catalog_root: str,
    facts: dict[str, Any],
    name: str = "musicrec",
    key: str | None = None,
) -> Iterator[TrainingLog]:
    """The log of a run's trainings; the driver's system metrics are logged beside them.

    Where no MLflow is configured (a store on object storage and no tracking URI), the trainings go on without, and it is said.

    Parameters
    ----------
    facts
        Of the parent run, as tags: versions of packages.
    name, key
        Of the parent run; the key is that of the configuration and catalog if not given.
    """
    if not tracking.is_configured(config.registry, store):
        event(
            "mlflow",
            "not used: set registry.tracking_uri or MLFLOW_TRACKING_URI to a server to follow the trainings there",
        )
        yield NullTrainingLog()
        return
    experiment = tracking.connect(config.registry, store)
    import mlflow

    logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
    key = key or run_key(config, catalog_key)
    with tracking.tracked(experiment, name, key, system_metrics=True) as parent:
        tracking.log_parameters(resolved(config))
        commit = git_commit()
        mlflow.set_tags(facts | ({"mlflow.source.git.commit": commit} if commit else {}))
        dataset = tracking.dataset(redacted(catalog_root), catalog_key)
        mlflow.MlflowClient().log_inputs(parent.info.run_id, datasets=[dataset])
        yield TrainingLog(mlflow.MlflowClient(), experiment, parent.info.run_id, key, dataset)


def git_commit() -> str | None:
    """The commit of the source that runs; None outside a repository."""
    folder = Path(musicrec.__file__).parents[1]
    if not (folder / ".git").exists():
        return None
    found = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None
