"""Trials of a hyperparameter search: training runs with other settings, without the test split."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from musicrec.config.jobs import Config
from musicrec.config.load import ConfigError, from_mapping, resolved, suggestion
from musicrec.config.sections import EnsembleSettings, StackSettings, SubmodelSettings
from musicrec.pipeline.base import Outcome, Run
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.pipeline.ensemble import ensemble_stage, ensemble_training_run
from musicrec.pipeline.launch import launch_training_runs, objective_name
from musicrec.pipeline.stack import stack_stage, stack_training_run
from musicrec.pipeline.train import Trained, submodel_stage, submodel_training_run
from musicrec.storage.store import Stage
from musicrec.training.checkpoints import StoreCheckpoints
from musicrec.training.objectives import OBJECTIVES, Objective
from musicrec.training.predictions import NO_FOLD
from musicrec.training.training_run import TrainingRun

# Key of a search in addition to the settings: the first phase's learning rate; the others follow in
# proportion.
LEARNING_RATE = "learning_rate"
SIZES = "sizes."


def section_of(config: Config, name: str) -> str:
    """Return the configuration section of a model: models.NAME, stacks.NAME or ensemble.

    Raises
    ------
    ConfigError
        No model has this name.
    """
    if name in config.models:
        return f"models.{name}"
    if name in config.stacks:
        return f"stacks.{name}"
    names = [*config.models, *config.stacks, *([ENSEMBLE] if config.task == "embedding" else [])]
    if name not in names:
        what = (
            f"--submodel {name}: no model has this name{suggestion(name, names)}"
            if name
            else "--submodel is not given"
        )
        raise ConfigError(f"{what}; name one of {', '.join(names)}")
    return "ensemble"


def settings_of(config: Config, name: str) -> SubmodelSettings | StackSettings | EnsembleSettings:
    """Return the settings in that section."""
    if section_of(config, name) == "ensemble":
        return config.ensemble
    return config.models[name] if name in config.models else config.stacks[name]


def with_values(config: Config, name: str, values: dict[str, Any]) -> Config:
    """Return the configuration with other values in the section of ``name``.

    Parameters
    ----------
    values
        By the section's keys, ``sizes.KEY`` for the architecture's, and ``learning_rate``.

    Raises
    ------
    ConfigError
        A value is not allowed.
    """
    own = settings_of(config, name)
    changed = {
        key: value
        for key, value in values.items()
        if key != LEARNING_RATE and not key.startswith(SIZES)
    }
    if LEARNING_RATE in values:
        changed["learning_rates"] = [
            rate * (values[LEARNING_RATE] / own.learning_rates[0]) for rate in own.learning_rates
        ]
    sizes = {
        key.removeprefix(SIZES): value for key, value in values.items() if key.startswith(SIZES)
    }
    changed["sizes"] = {**own.sizes, **sizes}
    kind, _, _ = section_of(config, name).partition(".")
    mapping = {field.name: resolved(config)[field.name] for field in dataclasses.fields(Config)}
    if kind == "ensemble":
        mapping[kind] = mapping[kind] | changed
    else:
        mapping[kind] = mapping[kind] | {name: mapping[kind][name] | changed}
    return from_mapping(mapping, f"a trial of {name}")


def decoded(drawn: dict[str, Any]) -> dict[str, Any]:
    """Decode drawn values: choices, which may be lists, are drawn as their JSON text."""
    return {
        key: json.loads(value) if isinstance(value, str) else value for key, value in drawn.items()
    }


@dataclass(frozen=True)
class Search:
    """A search of one model's, stack's or the ensemble's settings.

    Attributes
    ----------
    run
        Without the test tracks; see ``without_test``.
    name
        The model being searched.
    trained
        The submodels of a stack or of the ensemble.
    """

    run: Run
    name: str
    extracted: Outcome
    targeted: Outcome
    trained: Trained | None = None

    @property
    def better(self) -> int:
        """Return +1 if a higher validation metric is better, -1 if a lower one is."""
        return self._objective.better

    @property
    def metric(self) -> str:
        """Return the name of the validation metric."""
        return self._objective.metric_name

    @property
    def _objective(self) -> Objective:
        return OBJECTIVES[objective_name(self.run.config, settings_of(self.run.config, self.name))]

    def trial(self, drawn: dict[str, Any]) -> Trial:
        """Return the trial of some drawn values; without any, of the configuration as it is."""
        run = dataclasses.replace(
            self.run, config=with_values(self.run.config, self.name, decoded(drawn))
        )
        section = section_of(run.config, self.name)
        if section == "ensemble":
            stage = ensemble_stage(run, self.targeted, self.trained)
        elif section.startswith("stacks."):
            stage = stack_stage(run, self.name, self.targeted, self.trained)
        else:
            stage = submodel_stage(run, self.name, NO_FOLD, self.extracted, self.targeted)
        return Trial(self, run, stage)


@dataclass(frozen=True)
class Trial:
    """One training run of a search."""

    search: Search
    run: Run
    stage: Stage

    @property
    def finished(self) -> bool:
        """Whether the training run is complete."""
        return self.stage.success() is not None

    def history(self) -> list[dict[str, float]]:
        """Return the records of the epochs so far."""
        record = self.stage.success()
        if record is not None:
            return record["history"]
        saved = StoreCheckpoints(self.run.store, self.stage.folder).load_last()
        return [] if saved is None else saved["progress"]["history"]

    def train(self, on_epoch: Callable[[dict[str, float]], None]) -> None:
        """Train to the end from the last saved epoch.

        ``on_epoch`` gets every epoch's record, including those of earlier processes.

        Raises
        ------
        TrainingFailed
            The training failed; for a loss that is not finite with epoch, learning rate and batch.
        """
        for record in self.history():
            on_epoch(record)
        if not self.finished:
            run = dataclasses.replace(self.run, on_epoch=on_epoch)
            launch_training_runs(run, [self._task(run)])

    def _task(self, run: Run) -> TrainingRun:
        search, section = self.search, section_of(run.config, self.search.name)
        if section == "ensemble":
            return ensemble_training_run(run, self.stage, search.targeted, search.trained)
        if section.startswith("stacks."):
            return stack_training_run(run, search.name, self.stage, search.targeted, search.trained)
        return submodel_training_run(
            run, search.name, NO_FOLD, self.stage, search.extracted, search.targeted
        )


def without_test(run: Run) -> Run:
    """Return the run without its test tracks.

    Its models neither train, validate nor predict on test tracks, and have different keys.
    """
    tracks = run.catalog.tracks
    kept = tracks.filter(pc.not_equal(tracks.column("split"), "test"))
    return dataclasses.replace(
        run, catalog=dataclasses.replace(run.catalog, tracks=kept), left_out=("test",)
    )


def train_trial(
    proposal: dict[str, Any], search: Search, report: Callable[[dict[str, Any]], None]
) -> None:
    """Train the values ``drawn`` of a proposal, and report each epoch.

    A report has the epoch's number (from 1) and the best validation metric so far. The best so far
    is the trial's value if it ended here, since the best weights are kept; the last epochs of a
    trial that runs out of patience are worse.
    """
    best: float | None = None

    def on_epoch(record: dict[str, float]) -> None:
        nonlocal best
        # A metric of an output that is not finite is NaN, which no number compares with.
        if best is None or math.isnan(best) or search.better * (record["validation"] - best) > 0:
            best = record["validation"]
        report({"epoch": record["epoch"] + 1, "validation": best, "loss": record["loss"]})

    search.trial(proposal["drawn"]).train(on_epoch)
