from __future__ import annotations

import copy
import math
import multiprocessing
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from musicrec.storage.store import Store
from musicrec.training.checkpoints import StoreCheckpoints, load_weights
from musicrec.training.distributed import PARALLEL
from musicrec.training.divergence import Diverged
from musicrec.training.loop import Batch, Progress, Schedule, World, draw_seed, evaluate, fit
from musicrec.training.objectives import EMBEDDING, Objective

INPUTS, OUTPUTS, TRAIN, VALIDATION = 6, 4, 48, 12
SEED = 3


class Planted:
    """Inputs whose target is a linear map of them; batches are noisy in training."""

    def __init__(self, noise: float = 0.1) -> None:
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(TRAIN + VALIDATION, INPUTS, generator=generator)
        self.targets = self.inputs @ torch.randn(INPUTS, OUTPUTS, generator=generator)
        self.train, self.validation = np.arange(TRAIN), np.arange(TRAIN, TRAIN + VALIDATION)
        self.noise = noise
        self.batches_drawn = 0

    def groups(self) -> Sequence[np.ndarray]:
        return np.split(self.train, 6)

    def window(self) -> int:
        return 2

    def names(self, rows: np.ndarray) -> list[str]:
        return [f"track {row}" for row in rows.tolist()]

    def batch(self, rows: np.ndarray, generator: np.random.Generator | None) -> Batch:
        inputs = self.inputs[rows]
        if generator is not None:
            self.batches_drawn += 1
            inputs = inputs + self.noise * torch.from_numpy(
                generator.standard_normal(inputs.shape, dtype=np.float32)
            )
        return (inputs,), self.targets[rows]


class Memory:
    """Checkpoints in memory; counts what is saved."""

    def __init__(self) -> None:
        self.last: dict[str, Any] | None = None
        self.best: dict[str, Tensor] = {}
        self.bests: list[dict[str, Tensor]] = []

    def load_last(self) -> dict[str, Any] | None:
        return copy.deepcopy(self.last)

    def save_last(self, state: dict[str, Any]) -> None:
        self.last = copy.deepcopy(state)

    def load_best(self) -> dict[str, Tensor]:
        return self.best

    def save_best(self, weights: dict[str, Tensor]) -> None:
        self.best = copy.deepcopy(weights)
        self.bests.append(self.best)


def network() -> nn.Module:
    """Build a model with every kind of state: running statistics, dropout, Adam's moments."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(INPUTS, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(16, OUTPUTS),
    )


def schedule(**changes: Any) -> Schedule:
    defaults = {
        "learning_rates": (1e-2, 1e-3),
        "patience": (2, 2),
        "maximum_epochs": 4,
        "batch_size": 8,
        "gradient_norm": 1.0,
    }
    return Schedule(**(defaults | changes))


def scripted(values: Sequence[float], better: int = 1) -> Objective:
    """Return an objective whose validation metric is a script, one value per epoch."""
    script = iter(values)
    current: list[float] = []

    def metric(output: Tensor, target: Tensor) -> Tensor:
        if len(output) == VALIDATION:
            current[:] = [next(script)]
        return torch.full((len(output),), current[0])

    return Objective("scripted", EMBEDDING.loss, metric, better)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def without_seconds(history: list[dict[str, float]]) -> list[dict[str, float]]:
    timed = ("seconds", "examples_per_second", "peak_mebibytes", "ended")
    return [
        {name: value for name, value in record.items() if name not in timed} for record in history
    ]


def test_a_model_learns_and_its_history_says_how() -> None:
    model, records = network(), []
    examples = Planted()
    before = evaluate(model, examples, examples.validation, EMBEDDING, 8, World())
    progress = fit(
        model,
        examples,
        EMBEDDING,
        schedule(maximum_epochs=30, patience=(5, 5)),
        SEED,
        Memory(),
        on_epoch=records.append,
    )
    assert before < 0.5
    assert progress.best > 0.9
    assert progress.best == max(record["validation"] for record in progress.history)
    assert records == progress.history
    assert [record["epoch"] for record in records] == list(range(len(records)))
    assert records[0]["loss"] > records[-1]["loss"]
    assert -1 <= records[-1]["loss"] <= 1
    assert all(record["seconds"] > 0 for record in records)


def test_every_row_is_trained_on_once_an_epoch() -> None:
    examples = Planted()
    progress = fit(network(), examples, EMBEDDING, schedule(), SEED, Memory())
    assert examples.batches_drawn == progress.epoch * TRAIN / 8


def test_a_stage_ends_when_its_patience_is_spent_and_the_next_has_its_rate() -> None:
    # Better at epochs 0 and 1; two epochs of waiting; then one better and one of waiting.
    objective = scripted([0.1, 0.3, 0.2, 0.3, 0.4, 0.35])
    progress = fit(
        network(),
        Planted(),
        objective,
        schedule(patience=(2, 1), maximum_epochs=50, batch_size=VALIDATION),
        SEED,
        Memory(),
    )
    assert [(record["stage"], record["learning_rate"]) for record in progress.history] == [
        (0, 1e-2)
    ] * 4 + [(1, 1e-3)] * 2
    assert (progress.best, progress.best_epoch, progress.stage) == (pytest.approx(0.4), 4, 2)


def test_a_stage_that_never_improves_waits_out_its_patience() -> None:
    objective = scripted([0.5, 0.1, 0.1, 0.1, 0.1])
    progress = fit(
        network(),
        Planted(),
        objective,
        schedule(patience=(2, 2), maximum_epochs=50, batch_size=VALIDATION),
        SEED,
        Memory(),
    )
    assert [record["stage"] for record in progress.history] == [0, 0, 0, 1, 1]
    assert progress.best_epoch == 0


def test_where_lower_is_better() -> None:
    objective = scripted([0.5, 0.2, 0.3], better=-1)
    progress = fit(
        network(),
        Planted(),
        objective,
        schedule(learning_rates=(1e-2,), patience=(1,), batch_size=VALIDATION),
        SEED,
        Memory(),
    )
    assert (progress.best, progress.best_epoch) == (pytest.approx(0.2), 1)


def test_a_stage_has_at_most_its_epochs() -> None:
    progress = fit(
        network(),
        Planted(),
        EMBEDDING,
        schedule(maximum_epochs=3, patience=(99, 99)),
        SEED,
        Memory(),
    )
    assert [record["stage"] for record in progress.history] == [0, 0, 0, 1, 1, 1]


def test_the_model_ends_with_its_best_weights() -> None:
    model, kept, examples = network(), Memory(), Planted()
    objective = scripted([0.1, 0.9, 0.3, 0.3, 0.3, 0.3])
    fit(model, examples, objective, schedule(batch_size=VALIDATION), SEED, kept)
    assert len(kept.bests) == 2
    assert same(model.state_dict(), kept.bests[1])


def test_a_stage_starts_from_the_best_weights() -> None:
    # With a rate of almost nothing and batch norm's running values kept out, the second stage stays
    # where it began.
    torch.manual_seed(0)
    model, kept = nn.Linear(INPUTS, OUTPUTS), Memory()
    objective = scripted([0.9, 0.1, 0.1, 0.5])
    rates = schedule(learning_rates=(1.0, 1e-12), patience=(2, 1), batch_size=VALIDATION)
    fit(model, Planted(), objective, rates, SEED, kept)
    assert len(kept.bests) == 1
    torch.testing.assert_close(model.state_dict(), kept.bests[0], rtol=0, atol=1e-7)


class Killed(Exception):
    pass


@pytest.mark.parametrize("killed_at", range(7))
def test_a_run_that_was_killed_and_continued_equals_the_uninterrupted_one(
    tmp_path: Path, killed_at: int
) -> None:
    plan = schedule(maximum_epochs=4, patience=(2, 3))
    whole_store = StoreCheckpoints(Store(str(tmp_path)), "whole")
    whole = network()
    expected = fit(whole, Planted(), EMBEDDING, plan, SEED, whole_store)
    assert (
        expected.epoch == 8
    )  # four in each stage: a kill after the fourth falls between two stages

    def kill(record: dict[str, float]) -> None:
        if record["epoch"] == killed_at:
            raise Killed

    checkpoints = StoreCheckpoints(Store(str(tmp_path)), "killed")
    with pytest.raises(Killed):
        fit(network(), Planted(), EMBEDDING, plan, SEED, checkpoints, on_epoch=kill)
    torch.manual_seed(99)
    continued = nn.Sequential(*network().children())
    records: list[dict[str, float]] = []
    found = fit(continued, Planted(), EMBEDDING, plan, SEED, checkpoints, on_epoch=records.append)
    assert [record["epoch"] for record in records] == list(range(killed_at + 1, 8))
    assert without_seconds(found.history) == without_seconds(expected.history)
    assert same(continued.state_dict(), whole.state_dict())
    assert same(load_weights(checkpoints.store, "killed"), load_weights(checkpoints.store, "whole"))


def test_a_run_killed_between_its_two_checkpoints_equals_the_uninterrupted_one() -> None:
    # The best weights of an epoch are saved and its state is not: the epoch is repeated.
    class Dies(Memory):
        dead = False

        def save_last(self, state: dict[str, Any]) -> None:
            if state["progress"]["epoch"] == 3 and not self.dead:
                self.dead = True
                raise Killed
            super().save_last(state)

    whole, expected = network(), Memory()
    fit(whole, Planted(), EMBEDDING, schedule(), SEED, expected)
    kept = Dies()
    with pytest.raises(Killed):
        fit(network(), Planted(), EMBEDDING, schedule(), SEED, kept)
    continued = network()
    fit(continued, Planted(), EMBEDDING, schedule(), SEED, kept)
    assert same(continued.state_dict(), whole.state_dict())
    assert same(kept.best, expected.best)


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    checkpoints = StoreCheckpoints(Store(str(tmp_path)), "run")
    first = network()
    expected = fit(first, Planted(), EMBEDDING, schedule(), SEED, checkpoints)
    examples, again = Planted(), network()
    found = fit(again, examples, EMBEDDING, schedule(), SEED, checkpoints)
    assert examples.batches_drawn == 0
    assert found == expected
    assert same(again.state_dict(), first.state_dict())


def test_the_seed_decides_everything_that_is_random() -> None:
    def run(seed: int, disturbance: int) -> list[dict[str, float]]:
        model = network()
        torch.manual_seed(disturbance)  # what was drawn before must not matter
        return without_seconds(fit(model, Planted(), EMBEDDING, schedule(), seed, Memory()).history)

    assert run(SEED, 0) == run(SEED, 1)
    assert run(SEED, 0) != run(SEED + 1, 0)


def test_every_epoch_draws_anew() -> None:
    class Recorder(nn.Dropout):
        def forward(self, values: Tensor) -> Tensor:
            if self.training:
                masks.append(super().forward(torch.ones_like(values)) != 0)
            return values

    masks: list[Tensor] = []
    model = nn.Sequential(Recorder(), nn.Linear(INPUTS, OUTPUTS))
    progress = fit(model, Planted(noise=0), EMBEDDING, schedule(), SEED, Memory())
    firsts = masks[:: TRAIN // 8]  # the first batch of each epoch
    assert len({tuple(mask.flatten().tolist()) for mask in firsts}) == progress.epoch > 2


def test_a_loss_that_is_not_finite_names_epoch_rate_and_batch() -> None:
    examples = Planted(noise=0)
    examples.inputs[17] = math.inf
    with pytest.raises(
        Diverged, match=r"loss is nan in epoch 0 at learning rate 0\.01: .* batch: .*track 17(,|$)"
    ):
        fit(network(), examples, EMBEDDING, schedule(), SEED, Memory())


def test_outputs_for_the_validation_set_that_are_not_finite_end_the_training_too() -> None:
    examples = Planted(noise=0)
    examples.inputs[examples.validation[0]] = math.inf
    with pytest.raises(
        Diverged, match=r"validation rows are not finite after epoch 0, learning rate 0\.01"
    ):
        fit(network(), examples, EMBEDDING, schedule(), SEED, Memory())


def test_a_diverged_training_leaves_its_last_good_state() -> None:
    class Breaks(Planted):
        def batch(self, rows: np.ndarray, generator: np.random.Generator | None) -> Batch:
            arguments, target = super().batch(rows, generator)
            return arguments, target * (math.nan if self.batches_drawn > 2 * TRAIN / 8 else 1)

    kept = Memory()
    with pytest.raises(Diverged, match="epoch 2"):
        fit(network(), Breaks(), EMBEDDING, schedule(), SEED, kept)
    assert kept.last["progress"]["epoch"] == 2
    assert all(torch.isfinite(value).all() for value in kept.last["model"].values())


def test_gradients_are_clipped_at_their_norm() -> None:
    norms = []
    torch.manual_seed(0)
    model = nn.Linear(INPUTS, OUTPUTS)
    step = torch.optim.AdamW.step

    def watch(optimizer: torch.optim.Optimizer, *arguments: Any) -> Any:
        norms.append(
            torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).norm().item()
        )
        return step(optimizer, *arguments)

    objective = Objective(
        "steep",
        lambda output, target: 1000 * (output - target).square().mean(),
        EMBEDDING.metric,
        1,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", watch)
        fit(
            model,
            Planted(),
            objective,
            schedule(maximum_epochs=1, gradient_norm=0.5),
            SEED,
            Memory(),
        )
    assert len(norms) == 2 * TRAIN / 8
    np.testing.assert_allclose(norms, 0.5, rtol=1e-4)


def test_without_weight_decay_a_step_is_kerass_adam() -> None:
    # Kingma and Ba, algorithm 1, with Keras' epsilon: the first step moves every weight by the
    # rate, whatever its gradient.
    torch.manual_seed(0)
    model = nn.Linear(INPUTS, OUTPUTS)
    before = copy.deepcopy(model.state_dict())
    plan = schedule(learning_rates=(1e-3,), patience=(9,), maximum_epochs=1, batch_size=TRAIN)
    fit(model, Planted(), EMBEDDING, plan, SEED, Memory())
    for name, value in model.state_dict().items():
        np.testing.assert_allclose((value - before[name]).abs(), 1e-3, rtol=1e-2)


def test_weights_decay_where_asked_for() -> None:
    torch.manual_seed(0)
    flat = Objective("flat", lambda output, target: 0.0 * output.sum(), EMBEDDING.metric, 1)
    model = nn.Linear(INPUTS, OUTPUTS)
    before = model.weight.detach().clone()
    plan = schedule(
        learning_rates=(0.1,), patience=(9,), maximum_epochs=1, batch_size=TRAIN, weight_decay=0.5
    )
    fit(model, Planted(), flat, plan, SEED, Memory())
    torch.testing.assert_close(model.weight.detach(), before * 0.95)


def test_the_forward_pass_may_be_in_bfloat16_and_the_weights_stay_float32() -> None:
    model, kept, types = network(), Memory(), set()
    model[0].register_forward_hook(lambda _module, _inputs, output: types.add(output.dtype))
    world = World(precision=torch.bfloat16)
    progress = fit(
        model, Planted(), EMBEDDING, schedule(maximum_epochs=30, patience=(5, 5)), SEED, kept, world
    )
    assert types == {torch.bfloat16}
    assert progress.best > 0.9
    assert {value.dtype for value in kept.last["model"].values() if value.is_floating_point()} == {
        torch.float32
    }


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
def test_a_compiled_model_has_the_same_history_and_names_of_weights() -> None:
    plan, histories, kept = schedule(maximum_epochs=2), [], [Memory(), Memory()]
    for memory, compiled in zip(kept, (False, True), strict=True):
        torch.manual_seed(1)
        model = nn.Sequential(
            nn.Linear(INPUTS, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, OUTPUTS)
        )
        if compiled:
            model.compile()
        histories.append(fit(model, Planted(noise=0), EMBEDDING, plan, SEED, memory).history)
    for eager, found in zip(*histories, strict=True):
        assert [found[name] for name in ("loss", "validation")] == pytest.approx(
            [eager[name] for name in ("loss", "validation")], abs=1e-5
        )
    assert kept[0].best.keys() == kept[1].best.keys()


def test_evaluation_is_over_every_row_and_changes_nothing() -> None:
    model, examples = network(), Planted()
    before = copy.deepcopy(model.state_dict())
    values = [
        evaluate(model, examples, examples.validation, EMBEDDING, size, World())
        for size in (1, 5, VALIDATION)
    ]
    np.testing.assert_allclose(
        values, values[0], atol=1e-6
    )  # the last, smaller batch weighs no more than its rows
    assert same(model.state_dict(), before)
    assert examples.batches_drawn == 0


def test_draw_seed_depends_on_every_part() -> None:
    seeds = [draw_seed(*parts) for parts in ((0,), (1,), (0, 0), (0, "a"), ("0",), (0, 1), (1, 0))]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert draw_seed(0, "a") == draw_seed(0, "a")


def test_progress_survives_a_checkpoint(tmp_path: Path) -> None:
    checkpoints = StoreCheckpoints(Store(str(tmp_path)), "run")
    assert checkpoints.load_last() is None
    progress = Progress(stage=1, epoch=7, best=math.inf, history=[{"epoch": 0, "loss": 0.5}])
    checkpoints.save_last(
        {"progress": vars(progress), "model": {"w": torch.ones(2, 3).T}, "optimizer": {}}
    )
    saved = checkpoints.load_last()
    assert Progress(**saved["progress"]) == progress
    assert torch.equal(saved["model"]["w"], torch.ones(3, 2))


def _worker(rank: int, size: int, folder: str) -> None:
    """One of several processes that train together."""
    rendezvous = f"file://{folder}/rendezvous"
    torch.distributed.init_process_group(
        "gloo", init_method=rendezvous, rank=rank, world_size=size, timeout=timedelta(seconds=120)
    )
    try:
        world = World(rank, size)
        norm = nn.BatchNorm1d(2)
        norm.running_mean.fill_(rank)
        world.share_buffers(norm)
        assert norm.running_mean.tolist() == [0.5, 0.5]
        assert norm.num_batches_tracked == 0
        model = nn.parallel.DistributedDataParallel(linear(), **PARALLEL)
        checkpoints = StoreCheckpoints(Store(folder), "two")
        progress = fit(model, Planted(noise=0), EMBEDDING, TOGETHER, SEED, checkpoints, world)
        torch.save(
            {"history": without_seconds(progress.history), "model": model.module.state_dict()},
            f"{folder}/{rank}.pt",
        )
    finally:
        torch.distributed.destroy_process_group()


TOGETHER = schedule(patience=(1, 1), maximum_epochs=3)


def linear() -> nn.Module:
    torch.manual_seed(1)
    return nn.Linear(INPUTS, OUTPUTS)


def test_two_workers_train_as_one_does(tmp_path: Path) -> None:
    # Without noise, dropout and batch norm, the mean of two half batches' gradients is the whole
    # batch's but for rounding.
    expected = fit(linear(), Planted(noise=0), EMBEDDING, TOGETHER, SEED, Memory())
    other = multiprocessing.get_context("spawn").Process(target=_worker, args=(1, 2, str(tmp_path)))
    other.start()
    _worker(0, 2, str(tmp_path))
    other.join(timeout=120)
    assert other.exitcode == 0
    of_rank = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert of_rank[0]["history"] == of_rank[1]["history"]
    assert same(of_rank[0]["model"], of_rank[1]["model"])
    assert len(of_rank[0]["history"]) == len(expected.history)
    for found, wanted in zip(of_rank[0]["history"], expected.history, strict=True):
        for name in ("epoch", "stage", "learning_rate", "loss", "validation"):
            assert found[name] == pytest.approx(wanted[name], abs=1e-5)
