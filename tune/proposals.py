"""Optuna as a searcher of Ray Tune."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher

from tune.spaces import Space
from tune.trials import Trials

# In a space of few choices Optuna repeats itself. A new trial is then drawn at random; after this
# many draws a repetition is accepted.
DRAWS = 100


class Proposals(Searcher):
    """Propose all trials that have not ended, in the order of their numbers.

    Trials that are in the store are proposed as they are, new ones are stored first. A new trial
    depends only on the seed, its number and the results so far, so that a resumed search draws what
    it would have drawn without the interruption (with one trial at a time).

    Parameters
    ----------
    total
        Number of trials of the search.
    better
        +1 if a higher validation metric is better, -1 if a lower one is.
    random_trials
        Optuna draws at random until this many trials have ended.
    """

    def __init__(
        self, trials: Trials, total: int, space: Space, better: int, seed: int, random_trials: int
    ) -> None:
        super().__init__()
        self._trials, self._seed, self._random_trials = trials, seed, random_trials
        self._distributions = {
            key: parameter.distribution() for key, parameter in space.parameters.items()
        }
        self._study = optuna.create_study(direction="maximize" if better > 0 else "minimize")
        self._left = [number for number in range(1, total + 1) if number not in trials.ended]
        self._open: dict[str, optuna.Trial] = {}
        for _, result in sorted(trials.ended.items()):
            value = None if result.state == "failed" else result.validation
            state = TrialState.FAIL if value is None else TrialState.COMPLETE
            ended = optuna.trial.create_trial(
                state=state, value=value, params=result.drawn, distributions=self._distributions
            )
            self._study.add_trial(ended)

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """Return a trial's number, and its values as ``drawn``."""
        number = self._left.pop(0)
        if number in self._trials.drawn:
            self._study.enqueue_trial(self._trials.drawn[number])
            self._open[trial_id] = self._study.ask(self._distributions)
        else:
            self._open[trial_id] = self._draw(number)
            self._trials.propose(number, self._open[trial_id].params)
        return {"number": number, "drawn": self._trials.drawn[number]}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell Optuna a trial's result."""
        trial = self._open.pop(trial_id)
        if error:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, result["validation"])

    def _draw(self, number: int) -> optuna.Trial:
        seed = (self._seed + number) % 2**32
        self._study.sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=self._random_trials
        )
        trial = self._study.ask(self._distributions)
        self._study.sampler = optuna.samplers.RandomSampler(seed=seed)
        for _ in range(DRAWS):
            if trial.params not in self._trials.drawn.values():
                break
            self._study.tell(trial, state=TrialState.FAIL)
            trial = self._study.ask(self._distributions)
        return trial
