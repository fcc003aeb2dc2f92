"""Forward Tune's events to the store, MLflow and the progress output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from musicrec.registry.training_log import TrainingLog
from musicrec.studies.search import Search
from musicrec.telemetry.progress import Meter, event
from tune.results import TrialResult, result_of
from tune.trials import Trials


@dataclass(frozen=True)
class Progress:
    """Progress of a search's trials."""

    search: Search
    trials: Trials
    log: TrainingLog
    meter: Meter

    def epoch(self, number: int, result: dict[str, Any]) -> None:
        """Show a trial's last epoch."""
        name = f"trial {number}"
        self.meter.advance(
            0, **{name: f"epoch {result['epoch']}, {self.search.metric} {result['validation']:.3f}"}
        )

    def ended(self, result: TrialResult) -> None:
        """Show a trial that ended, and log it as an MLflow run; calling again changes nothing."""
        name, facts = (
            f"trial {result.number}",
            {"state": result.state} | ({"reason": result.reason} if result.reason else {}),
        )
        self.meter.drop(name)
        self.meter.advance(1)
        event(
            "tune",
            f"{name} {result.state}",
            validation=result.validation,
            epochs=result.epochs,
            seconds=result.seconds,
            **facts,
        )
        self.log.begin(
            name,
            f"{result.number}-{result.training}",
            {**result.values, **facts, "training": result.training},
        )
        if result.state == "failed":
            self.log.fail(name, result.reason)
        else:
            self.log.end(name, self.search.metric, self.search.trial(result.drawn).history())


class TuneCallback(Callback):
    """Forward Tune's events to this process's progress.

    Tune writes its callbacks into the store when a search starts, so they hold no state.
    """

    progress: Progress | None = None

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Show the epoch that a trial has finished."""
        TuneCallback.progress.epoch(trial.config["number"], result)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Record the trials that have ended since the last step."""
        progress = TuneCallback.progress
        for trial in trials:
            number = trial.config["number"]
            if trial.is_finished() and number not in progress.trials.ended:
                result = result_of(progress.search, number, trial.config["drawn"], _error(trial))
                progress.trials.end(result)
                progress.ended(result)


def _error(trial: Any) -> str | None:
    """Return the error of a failed trial; this machine has it before the store."""
    if trial.status != Trial.ERROR:
        return None
    return Path(trial.error_file).read_text() if trial.error_file else "its process ended"
