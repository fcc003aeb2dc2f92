"""The settings that reach Ray Train: workers, their resources and the number of retries."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from small_training import prepare

from musicrec.config.sections import TrainSettings
from musicrec.training.distributed import trainer


@pytest.mark.parametrize(
    ("settings", "workers", "resources"),
    [
        (TrainSettings(), 1, {"CPU": 1.0}),
        (TrainSettings(workers=4, minimum_workers=4), 4, {"CPU": 1.0}),
        (
            TrainSettings(workers=8, minimum_workers=2, cpus_per_worker=3.0, gpu=True),
            (2, 8),
            {"CPU": 3.0, "GPU": 1.0},
        ),
    ],
)
def test_workers_may_be_elastic_and_have_what_is_configured(
    tmp_path: Path,
    settings: TrainSettings,
    workers: int | tuple[int, int],
    resources: dict[str, float],
) -> None:
    scaling = trainer({"task": prepare(str(tmp_path))}, settings).scaling_config
    assert scaling.num_workers == workers
    assert scaling.resources_per_worker == resources
    assert scaling.use_gpu == settings.gpu


def test_a_preempted_node_is_no_failure_and_failures_are_counted(tmp_path: Path) -> None:
    task = prepare(str(tmp_path))
    run = trainer({"task": task}, TrainSettings(maximum_failures=5)).run_config
    assert run.failure_config.max_failures == 5
    assert run.failure_config.max_preemption_failures == -1  # without limit
    # The same training has the same name and place, whoever starts it: Ray takes it up again.
    again = trainer(
        {"task": dataclasses.replace(task, seed=1)}, TrainSettings(workers=2)
    ).run_config
    assert (
        (run.name, run.storage_path)
        == (again.name, again.storage_path)
        == ("submodels-key", f"{tmp_path}/ray_train")
    )
