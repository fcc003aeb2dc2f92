from __future__ import annotations

import numpy as np
import pytest

from musicrec.dry_run.step_timing import TimedModel, time_steps
from musicrec.specs.submodel import SubmodelSpec
from musicrec.training.loop import Schedule


@pytest.mark.parametrize("task", ["embedding", "single_genre", "many_genres"])
def test_a_step_of_every_task_can_be_timed(task: str) -> None:
    spec = SubmodelSpec(
        "mfcc.large_rnn", "large_rnn", 4, feature="mfcc", pool=(1, 32), sizes={"hidden": (4, 4, 4)}
    )
    inputs = np.zeros((2, 1, *spec.input_shape()), np.float32)
    schedule = Schedule((1e-3,), (1,), 1, 2)
    name, step, forward = time_steps(
        TimedModel("mfcc.large_rnn", spec, inputs, task, schedule, 0), "cpu", 1
    )
    assert name == "mfcc.large_rnn"
    assert 0 < forward < step
