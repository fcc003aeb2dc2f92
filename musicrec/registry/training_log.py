"""Log training runs to MLflow while they run.

Each configuration and catalog has one parent run with one child per training run. A restarted job
continues both. Epochs that a killed driver did not log are logged by the next one from the stored
record, so that each epoch appears once.
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
from musicrec.config.sections import RankingSettings
from musicrec.evaluation.learning_plot import plot_learning
from musicrec.registry import runs as tracking
from musicrec.registry.deferred import DeferredLog
from musicrec.storage.store import Store, fingerprint
from musicrec.telemetry.progress import event
from musicrec.telemetry.redact import redacted

# Tag of a failed run: the reason, on one line.
REASON_TAG = "musicrec.reason"
# Settings of where and how a run works and of its presentation, which do not change its results.
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
    # They decide the catalog, which has a key of its own.
    "plays",
    "plays_form",
    "relations",
)


def run_key(config: Config, catalog_key: str) -> str:
    """Return the key of the MLflow run that all jobs of a configuration on a catalog continue."""
    values = {name: value for name, value in resolved(config).items() if name not in ELSEWHERE}
    # Other numbers or kinds of workers continue the same run.
    values["train"] = config.train.key_fields() | {"folds": config.train.folds}
    if config.ranking == RankingSettings():  # runs logged before it existed keep their keys
        del values["ranking"]
    if not config.extract.pretrained:
        del values["extract"]["pretrained"]
    for name in config.embed.without_effect():
        del values["embed"][name]
    return fingerprint("run", catalog_key, values)


class TrainingLog:
    """Log training runs as children of one MLflow run.

    Parameters
    ----------
    parent
        The id of the parent run.
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
        """Find or create the MLflow run of a training run."""
        run_id = tracking.find_or_create(
            self.client, self.experiment, name, f"{self.key}-{training_key}", self.parent
        )
        self.runs[name] = run_id
        tracking.log_parameters_of(self.client, run_id, parameters)
        self.client.log_inputs(run_id, datasets=[self.dataset])

    def epoch(
        self, name: str, metric: str, record: dict[str, float], now: float | None = None
    ) -> None:
        """Log one epoch, with the present time or ``now`` (seconds).

        The same call with the same ``now`` changes nothing: MLflow stores equal metrics once.
        """
        tracking.log_epochs(self.client, self.runs[name], [record], metric, now)

    def end(self, name: str, metric: str, history: list[dict[str, float]]) -> None:
        """Log the missing epochs and the plot of learning curves, and close the run."""
        run_id = self.runs[name]
        tracking.log_history(self.client, run_id, history, metric)
        self.client.log_figure(run_id, plot_learning(history, metric, name), "learning_curves.png")
        if REASON_TAG in self.client.get_run(run_id).data.tags:  # failed in an earlier process
            self.client.delete_tag(run_id, REASON_TAG)
        self.client.set_terminated(run_id)

    def fail(self, name: str, reason: str) -> None:
        """Close the run as failed, with the reason as a tag."""
        self.client.set_tag(self.runs[name], REASON_TAG, redacted(reason))
        self.client.set_terminated(self.runs[name], "FAILED")

    def scores(self, name: str, values: dict[str, float], figures: dict[str, Any]) -> None:
        """Log test scores and matplotlib plots, by file name, to the run of a finished training."""
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
        """Log a text file to the parent run."""
        self.client.log_text(self.parent, text, name)

    def log_plot(self, name: str, figure: Any) -> None:
        """Log a matplotlib plot to the parent run."""
        self.client.log_figure(self.parent, figure, name)

    def folder(self, name: str, path: str) -> None:
        """Log the files of a local folder to the parent run."""
        self.client.log_artifacts(self.parent, path, name)


class NullTrainingLog(TrainingLog):
    """Log nothing, where no MLflow is configured."""

    def __init__(self) -> None:
        """Create a log without a client."""

    def begin(self, name: str, training_key: str, parameters: dict[str, Any]) -> None:
        """Do nothing."""

    def epoch(
        self, name: str, metric: str, record: dict[str, float], now: float | None = None
    ) -> None:
        """Do nothing."""

    def end(self, name: str, metric: str, history: list[dict[str, float]]) -> None:
        """Do nothing."""

    def fail(self, name: str, reason: str) -> None:
        """Do nothing."""

    def scores(self, name: str, values: dict[str, float], figures: dict[str, Any]) -> None:
        """Do nothing."""

    def text(self, name: str, text: str) -> None:
        """Do nothing."""

    def log_plot(self, name: str, figure: Any) -> None:
        """Do nothing."""

    def folder(self, name: str, path: str) -> None:
        """Do nothing."""


@contextlib.contextmanager
def training_log(
    config: Config,
    store: Store,
    catalog_key: str,
    catalog_root: str,
    facts: dict[str, Any],
    name: str = "musicrec",
    key: str | None = None,
) -> Iterator[TrainingLog | DeferredLog]:
    """Open the log of a run's training runs; the parent run also gets the driver's system metrics.

    Where no MLflow is configured (a store on object storage and no tracking URI), training goes on
    without it and an event says so. While MLflow does not answer, training goes on as well, and
    what could not be logged is logged later (``DeferredLog``).

    Parameters
    ----------
    facts
        Tags of the parent run: versions of packages.
    name, key
        The parent run's name and key; the key defaults to ``run_key`` of the configuration.
    """
    if not tracking.is_configured(config.registry, store):
        event(
            "mlflow",
            "not used: set registry.tracking_uri or MLFLOW_TRACKING_URI to a server to follow the "
            "training runs there",
        )
        yield NullTrainingLog()
        return
    key = key or run_key(config, catalog_key)

    def open_log(stack: contextlib.ExitStack) -> TrainingLog:
        experiment = tracking.connect(config.registry, store)
        import mlflow

        logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
        parent = stack.enter_context(tracking.tracked(experiment, name, key, system_metrics=True))
        tracking.log_parameters(resolved(config))
        commit = git_commit()
        mlflow.set_tags(facts | ({"mlflow.source.git.commit": commit} if commit else {}))
        dataset = tracking.dataset(redacted(catalog_root), catalog_key)
        mlflow.MlflowClient().log_inputs(parent.info.run_id, datasets=[dataset])
        return TrainingLog(mlflow.MlflowClient(), experiment, parent.info.run_id, key, dataset)

    with DeferredLog(open_log) as log:
        yield log


def git_commit() -> str | None:
    """Return the commit of the running source, or None outside a repository."""
    folder = Path(musicrec.__file__).parents[1]
    if not (folder / ".git").exists():
        return None
    finished = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return finished.stdout.strip() or None
