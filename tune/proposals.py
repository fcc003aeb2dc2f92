"""Optuna as Ray Tune's searcher."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher

from tune.spaces import Space
from tune.trials import Trials

# In a space of few choices Optuna likes what it knows. A trial of its own is drawn at random then; after so many draws it repeats another.
DRAWS = 100


class Proposals(Searcher):
    """Proposes, in the order of their numbers, all trials that have not ended: as they are in the store, or new ones, which it puts there.

    What is new depends on nothing but the seed, the number and the results so far, so that a search that goes on does not draw anew what it
    drew at its beginning, but what it would have drawn without the interruption (with one trial at a time).

    Parameters
    ----------
    total
        Trials of the search.
    better
        +1 if a higher validation metric is better, -1 if a lower one is.
    random_trials
        Optuna draws at random until so many trials have ended.
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
        self._asked: dict[str, optuna.Trial] = {}
        for _, result in sorted(trials.ended.items()):
            value = None if result.state == "failed" else result.validation
            state = TrialState.FAIL if value is None else TrialState.COMPLETE
            known = optuna.trial.create_trial(
                state=state, value=value, params=result.drawn, distributions=self._distributions
            )
            self._study.add_trial(known)

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """A trial's number, and what it is to try as ``drawn``."""
        number = self._left.pop(0)
        if number in self._trials.drawn:
            self._study.enqueue_trial(self._trials.drawn[number])
            self._asked[trial_id] = self._study.ask(self._distributions)
        else:
            self._asked[trial_id] = self._draw(number)
            self._trials.propose(number, self._asked[trial_id].params)
        return {"number": number, "drawn": self._trials.drawn[number]}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        asked = self._asked.pop(trial_id)
        if error:
            self._study.tell(asked, state=TrialState.FAIL)
        else:
            self._study.tell(asked, result["validation"])

    def _draw(self, number: int) -> optuna.Trial:
        seed = (self._seed + number) % 2**32
        self._study.sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=self._random_trials
        )
        asked = self._study.ask(self._distributions)
        self._study.sampler = optuna.samplers.RandomSampler(seed=seed)
        for _ in range(DRAWS):
            if asked.params not in self._trials.drawn.values():
                break
            self._study.tell(asked, state=TrialState.FAIL)
            asked = self._study.ask(self._distributions)
        return asked
