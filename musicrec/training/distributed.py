"""Run trainings on Ray Train: a TorchTrainer with its own workers each, several at a time.

A training of seconds with one worker may be a plain Ray task instead (``train.launch``), whose
process the next one takes over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty
from typing import Any

from musicrec.config.sections import TrainSettings
from musicrec.runtime.cluster import ON_ANY_NODE
from musicrec.storage.store import Store
from musicrec.telemetry import metrics as monitoring
from musicrec.training.divergence import Diverged
from musicrec.training.training_run import TrainingRun

# Epochs of all trainings come through one queue; a driver that is busy elsewhere may lag behind by
# so many.
QUEUED_EPOCHS = 10_000
# Ray takes a report only as its controller polls (half a second at best); an epoch of a small
# ensemble takes a twentieth of one.
SECONDS_BETWEEN_REPORTS = 5.0
# Buffers are shared once an epoch by the loop, not before each batch; gradients are not copied to
# be sent.
PARALLEL = {"broadcast_buffers": False, "gradient_as_bucket_view": True}


class TrainingFailed(RuntimeError):
    """One or more trainings failed: which, and why."""


def _worker(config: dict[str, Any]) -> None:
    """Run a training on one of its workers."""
    import ray.train.torch
    import torch

    from musicrec.training.loop import World

    task: TrainingRun = config["task"]
    if Store(task.store).exists(_diverged(task)):
        return  # a group that Ray starts again would diverge again
    context = ray.train.get_context()
    torch.set_num_threads(config["threads"])
    device = ray.train.torch.get_device()
    world = World(
        context.get_world_rank(),
        context.get_world_size(),
        device,
        getattr(torch, config["precision"]),
    )

    def wrap(model: torch.nn.Module) -> torch.nn.Module:
        if config["compile"]:
            model.compile()  # in place: the names of the weights stay
        return (
            ray.train.torch.prepare_model(model, parallel_strategy_kwargs=PARALLEL)
            if world.size > 1
            else model
        )

    last_report = time.monotonic()

    def on_epoch(record: dict[str, float]) -> None:
        nonlocal last_report
        if world.rank == 0:
            config["queue"].put((task.name, record))
        # All workers must report alike: the mean of their clocks is the same number on each.
        if world.mean([time.monotonic() - last_report]) > SECONDS_BETWEEN_REPORTS:
            ray.train.report({name: record[name] for name in ("epoch", "loss", "validation")})
            last_report = time.monotonic()

    _run(task, world, wrap, on_epoch)


def _alone(config: dict[str, Any]) -> None:
    """Run a training of one worker as a Ray task."""
    import torch

    from musicrec.training.loop import World

    task: TrainingRun = config["task"]
    torch.set_num_threads(config["threads"])
    world = World(
        device=torch.device(config["device"]), precision=getattr(torch, config["precision"])
    )

    def wrap(model: torch.nn.Module) -> torch.nn.Module:
        if config["compile"]:
            model.compile()
        return model

    _run(task, world, wrap, lambda record: config["queue"].put((task.name, record)))


def _run(
    task: TrainingRun,
    world: Any,
    wrap: Callable[[Any], Any],
    on_epoch: Callable[[dict[str, float]], None],
) -> None:
    from musicrec.training.training_run import run

    try:
        run(task, world, wrap, on_epoch)
    except Diverged as error:
        Store(task.store).write(_diverged(task), str(error).encode())
        raise


def _diverged(task: TrainingRun) -> str:
    """Return the store's name of the file that explains why a training diverged."""
    return f"{task.folder}/diverged.txt"


def train_all(
    tasks: list[TrainingRun],
    settings: TrainSettings,
    on_epoch: Callable[[str, dict[str, float]], None],
    on_done: Callable[[TrainingRun], None],
    on_failed: Callable[[TrainingRun, str], None],
) -> None:
    """Run all trainings; a failed one does not stop the others.

    ``on_done``, or ``on_failed`` with the reason, is called for each as it ends.

    Raises
    ------
    TrainingFailed
        After all have ended, naming those that failed and why.
    """
    import ray
    from ray.util.queue import Queue
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    if not tasks:
        return
    # On this process' node: on another one, it would end with that node, and this process with it.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    queue = Queue(maxsize=QUEUED_EPOCHS, actor_options={"num_cpus": 0, "scheduling_strategy": here})
    failures: dict[str, str] = {}

    def epoch(name: str, record: dict[str, float]) -> None:
        monitoring.epoch_done(name, record)
        on_epoch(name, record)

    try:
        slots = threading.Semaphore(settings.parallel_runs)
        running = {_started(task, settings, queue, slots): task for task in tasks}
        while running:
            _drain(queue, epoch)
            for future in [future for future in running if future.done()]:
                task, error = running.pop(future), future.exception()
                _drain(queue, epoch, wait=False)
                if error is None:
                    on_done(task)
                else:
                    failures[task.name] = _cause(error)
                    on_failed(task, failures[task.name])
    finally:
        queue.shutdown(force=True)
    if failures:
        lines = "\n".join(f"  {name}: {reason}" for name, reason in sorted(failures.items()))
        raise TrainingFailed(
            f"{len(failures)} of {len(tasks)} trainings failed, the others are kept:\n{lines}"
        )


def _started(
    task: TrainingRun, settings: TrainSettings, queue: Any, slots: threading.Semaphore
) -> Future[None]:
    """Start a training in its own thread, where it waits for a slot.

    A driver that is stopped does not wait for the thread.
    """
    future: Future[None] = Future()

    def run() -> None:
        with slots:
            try:
                future.set_result(_fit(task, settings, queue))
            except BaseException as error:  # noqa: BLE001 - the driver raises it
                future.set_exception(error)

    threading.Thread(target=run, name=task.name, daemon=True).start()
    return future


def _fit(task: TrainingRun, settings: TrainSettings, queue: Any) -> None:
    store = Store(task.store)
    store.remove(_diverged(task))
    config = {
        "task": task,
        "queue": queue,
        "threads": max(1, int(settings.cpus_per_worker)),
        "precision": settings.precision,
        "compile": settings.compile,
    }
    try:
        if settings.launch == "task":
            _fit_in_task(config, settings)
        else:
            trainer(config, settings).fit()
    finally:
        if store.exists(_diverged(task)):
            raise Diverged(store.read(_diverged(task)).decode())


def _fit_in_task(config: dict[str, Any], settings: TrainSettings) -> None:
    import ray

    # Of a process that is lost Ray starts another one, which goes on from the last epoch;
    # max_calls=0 keeps a process that had a GPU.
    gpus = int(settings.gpu)
    task = ray.remote(
        num_cpus=settings.cpus_per_worker,
        num_gpus=gpus,
        max_calls=0,
        max_retries=settings.maximum_failures,
        scheduling_strategy=ON_ANY_NODE,
    )(_alone)
    ray.get(task.remote(config | {"device": "cuda" if gpus else "cpu"}))


def trainer(config: dict[str, Any], settings: TrainSettings) -> Any:
    """Return Ray's trainer, with its workers, their resources and its number of retries."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    task: TrainingRun = config["task"]
    resources = {"CPU": settings.cpus_per_worker} | ({"GPU": 1.0} if settings.gpu else {})
    fixed = settings.minimum_workers is None or settings.minimum_workers == settings.workers
    workers = settings.workers if fixed else (settings.minimum_workers, settings.workers)
    filesystem, folder = Store(task.store).locate("ray_train")
    return TorchTrainer(
        _worker,
        train_loop_config=config,
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=settings.gpu, resources_per_worker=resources
        ),
        run_config=RunConfig(
            name=task.folder.replace("/", "-"),
            storage_path=folder,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=settings.maximum_failures),
        ),
    )


def _drain(
    queue: Any, on_epoch: Callable[[str, dict[str, float]], None], wait: bool = True
) -> None:
    """Hand on the epochs that have come; wait up to a second for the first."""
    try:
        name, record = queue.get(block=wait, timeout=1.0 if wait else None)
        while True:
            on_epoch(name, record)
            name, record = queue.get(block=False)
    except Empty:
        return


def _cause(error: BaseException) -> str:
    """Return the innermost reason of a failed training, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    failures = getattr(error, "worker_failures", None)
    if failures:
        return _cause(next(iter(failures.values())))
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
