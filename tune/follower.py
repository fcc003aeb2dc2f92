"""Tune's events, as a person sees them and as MLflow keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from musicrec.progress import Meter, event
from musicrec.stages.search import Search
from musicrec.training_log import TrainingLog
from tune.results import TrialResult, result_of

FOLDER = "trial_"


def number_of(trial: Any) -> int:
    """Which trial of a search it is, from 1, in the order of their proposals: Tune's tag begins with it."""
    return int(trial.experiment_tag.partition("_")[0])


def folder_of(trial: Any) -> str:
    """The name of a trial's folder in Tune's state, by which it is known when the search has ended."""
    return f"{FOLDER}{number_of(trial)}"


def number_in(path: str) -> int:
    """The number of the trial whose folder this is."""
    return int(path.rpartition("/")[2].removeprefix(FOLDER))


@dataclass
class Progress:
    """The trials of a search as they end."""

    search: Search
    log: TrainingLog
    meter: Meter
    taken: set[int] = field(default_factory=set)

    def epoch(self, number: int, result: dict[str, Any]) -> None:
        """Show a trial's last epoch."""
        name = f"trial {number}"
        self.meter.advance(0, **{name: f"epoch {result['epoch']}, {self.search.metric} {result['validation']:.3f}"})

    def ended(self, result: TrialResult) -> None:
        """Take a trial that ended: a run of its own in MLflow. One that was taken already changes nothing."""
        if result.number in self.taken:
            return
        self.taken.add(result.number)
        name, facts = f"trial {result.number}", {"state": result.state} | ({"reason": result.reason} if result.reason else {})
        self.meter.drop(name)
        self.meter.advance(1)
        event("tune", f"{name} {result.state}", validation=result.validation, epochs=result.epochs, seconds=result.seconds, **facts)
        self.log.begin(name, f"{result.number}-{result.training}", {**result.values, **facts, "training": result.training})
        if result.state == "failed":
            self.log.fail(name, result.reason or result.state)
        else:
            self.log.end(name, self.search.metric, self.search.trial(result.drawn).history())


class Follower(Callback):
    """Hands Tune's events to this process' progress.

    Tune writes its callbacks into the store when a search begins, and takes them from there when it goes on: they carry nothing.
    """

    progress: Progress | None = None

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any) -> None:
        Follower.progress.epoch(number_of(trial), result)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Take the trials that have ended since the last step; in the first one of a search that goes on, those of earlier processes."""
        for trial in trials:
            if trial.is_finished() and number_of(trial) not in Follower.progress.taken:
                error = trial.get_error() or RuntimeError("its process ended") if trial.status == Trial.ERROR else None
                Follower.progress.ended(result_of(Follower.progress.search, number_of(trial), trial.config, error))
