"""Trials are stopped when they lag behind, but never at their last epoch."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ray.tune.schedulers import TrialScheduler

from musicrec.config.jobs import TuneConfig
from tune.search import _scheduler

EPOCHS = 4


def stopped_after(grace: int, *trials: list[float]) -> list[int | None]:
    """Return the epochs after which successive trials with these metrics are stopped."""
    scheduler = _scheduler(TuneConfig(grace_epochs=grace, reduction=2), EPOCHS)
    assert scheduler.set_search_properties("validation", "max")
    stopped: list[int | None] = []
    for number, values in enumerate(trials):
        trial = SimpleNamespace(trial_id=str(number))
        scheduler.on_trial_add(None, trial)
        results = [{"epoch": epoch, "validation": value} for epoch, value in enumerate(values, 1)]
        stops = (
            result["epoch"]
            for result in results
            if scheduler.on_trial_result(None, trial, result) == TrialScheduler.STOP
        )
        stopped.append(next(stops, None))
    return stopped


@pytest.mark.parametrize("grace", [1, 2, 3, EPOCHS, 2 * EPOCHS])
def test_a_trial_behind_at_its_last_epoch_is_not_stopped(grace: int) -> None:
    assert stopped_after(grace, [0.5, 0.6, 0.7, 0.8], [0.5, 0.6, 0.7, 0.1]) == [None, None]


@pytest.mark.parametrize(
    ("grace", "epoch"), [(1, 1), (2, 2), (3, 3), (EPOCHS, None), (2 * EPOCHS, None)]
)
def test_a_trial_that_lags_behind_is_stopped_after_its_grace(grace: int, epoch: int | None) -> None:
    assert stopped_after(grace, [0.5, 0.6, 0.7, 0.8], [0.1, 0.1, 0.1, 0.1]) == [None, epoch]
