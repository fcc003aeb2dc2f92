"""Join or start Ray, and map a function over items with it."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from musicrec.config.errors import UserError
from musicrec.config.sections import RaySettings

LOOPBACK = "127.0.0.1"
# Below the ephemeral ports, one of which another process of the same Ray might take first, and
# above the ports that Ray gives its workers.
PORTS = range(20_000, 30_000)
WORKER_ENVIRONMENT = {
    # One thread per task: a task takes one CPU, and more threads of BLAS, Numba or OpenMP would
    # only take those of other tasks.
    **dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
    ),
    # glibc returns large arrays to the system and requests them again at every step: page faults
    # take a third of a training step of the Time model at the thesis' size (236 ms per clip, 145
    # without).
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_TOP_PAD_": str(2**28),
}

# Length of a socket's path (unix(7), without the final zero byte), and the longest below Ray's
# folder.
SOCKET_BYTES = 107
LONGEST_SOCKET = "ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"

# A search's trial runs in a placement group of its own, which has no CPU for the trial's tasks:
# this scheduling strategy places them outside.
ON_ANY_NODE = "DEFAULT"


def connect(settings: RaySettings) -> None:
    """Join the cluster that RAY_ADDRESS or the settings name, or start a local one.

    Do nothing where this process is connected already.
    """
    address = settings.address or os.environ.get("RAY_ADDRESS")
    # Ray reads its environment when it is imported. A user's own setting is kept.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Reports are collected at this rate; Ray's 2 s would slow short epochs.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    # After the death of a node an elastic run first requests its old size, from a view that still
    # includes the node, and waits this long for it.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "30")
    if address is None:
        # One more process per training run; a local machine is not preempted.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    import ray
    import ray.data

    if not ray.is_initialized():
        options: dict[str, Any] = {"address": address}
        environment = dict(WORKER_ENVIRONMENT)
        if address is None:
            _check_temporary_folder()
            # Ray Train frees the resources of a stopped run through the dashboard's State API,
            # which it discovers by itself: with another Ray on this machine it might find the wrong
            # one. The port is chosen here and passed to the processes.
            port = free_port()
            environment["RAY_API_SERVER_ADDRESS"] = f"http://{LOOPBACK}:{port}"
            options = {
                "address": "local",  # else Ray joins any cluster that it finds on this machine
                "num_cpus": settings.num_cpus,
                "include_dashboard": True,
                "dashboard_host": LOOPBACK,
                "dashboard_port": port,
            }
        ray.init(
            **options,
            runtime_env={"env_vars": environment},
            logging_level=logging.ERROR,
            log_to_driver=settings.worker_logs,
        )
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # A column that Arrow cannot represent is an error, never a pickle.
    context.enable_fallback_to_arrow_object_ext_type = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    logging.getLogger("ray.train").setLevel(logging.WARNING)


def _check_temporary_folder() -> None:
    """Check that the sockets that Ray makes in its temporary folder have names short enough.

    Raises
    ------
    UserError
        They would be longer than the operating system allows.
    """
    variable = next((n for n in ("RAY_TMPDIR", "TMPDIR") if n in os.environ), None)
    if variable is None:
        return
    folder = os.path.abspath(os.environ[variable])
    excess = len(os.fsencode(os.path.join(folder, LONGEST_SOCKET))) - SOCKET_BYTES
    if excess > 0:
        raise UserError(
            f"{variable} is {folder}, which is {excess} bytes too long for the sockets of Ray: "
            "set RAY_TMPDIR to a shorter folder, such as /tmp"
        )


def free_port() -> int:
    """Return a free port of this machine."""
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((LOOPBACK, port))
            return port
    raise RuntimeError(f"no free port from {PORTS.start} to {PORTS.stop - 1}")


def cpus() -> int:
    """Return the number of CPUs of the cluster."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def gpus() -> tuple[int, int]:
    """Return the number of GPUs of the cluster, and the CPUs available per GPU.

    The node with the fewest CPUs per GPU decides; at least 1.
    """
    import ray

    nodes = [
        node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")
    ]
    count = int(sum(resources["GPU"] for resources in nodes))
    return count, max(
        1, min((int(resources.get("CPU", 0) // resources["GPU"]) for resources in nodes), default=1)
    )


def check_cuda(key: str) -> None:
    """Check that every GPU node of the cluster can use CUDA from torch, if setting ``key`` is cuda.

    Raises
    ------
    UserError
        No node has a GPU, or torch cannot use that of a node.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    if not nodes:
        raise UserError(
            f"{key} is cuda, but no node of the Ray cluster has a GPU: add one, or set {key} to cpu"
        )
    task = ray.remote(num_cpus=0, num_gpus=1)(_torch_without_cuda)
    versions = ray.get(
        [
            task.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote()
            for node in nodes
        ]
    )
    for node, version in zip(nodes, versions, strict=True):
        if version is not None:
            raise UserError(
                f"{key} is cuda, but torch {version} on node {node['NodeManagerHostname']} cannot "
                f"use its GPU: install a build of torch for its CUDA driver, or set {key} to cpu"
            )


def _torch_without_cuda() -> str | None:
    """Return the version of torch if it cannot use CUDA in this process, or None."""
    import torch

    return None if torch.cuda.is_available() else torch.__version__


def map_unordered(
    function: Callable[..., Any],
    items: Iterable[Any],
    *arguments: Any,
    in_flight: int | None = None,
    lost: list[Any] | None = None,
) -> Iterator[Any]:
    """Yield ``function(item, *arguments)`` for each item as tasks of one CPU complete.

    Parameters
    ----------
    in_flight
        Largest number of pending tasks, so that memory does not grow with the items; twice the
        cluster's CPUs if not given.
    lost
        Receives the items whose task failed, or crashed its process twice; these are errors if not
        given.
    """
    import ray

    task = ray.remote(num_cpus=1, scheduling_strategy=ON_ANY_NODE)(function)
    if lost is not None:
        task = task.options(max_retries=1)
    shared = [ray.put(argument) for argument in arguments]
    limit = in_flight or 2 * cpus()
    pending: dict[Any, Any] = {}

    def ended() -> Iterator[Any]:
        (done,), _ = ray.wait(list(pending), num_returns=1)
        item = pending.pop(done)
        try:
            result = ray.get(done)
        except ray.exceptions.RayError:
            if lost is None:
                raise
            lost.append(item)
        else:
            yield result

    for item in items:
        if len(pending) >= limit:
            yield from ended()
        pending[task.remote(item, *shared)] = item
    while pending:
        yield from ended()


def on_each_node(function: Callable[[], Any]) -> None:
    """Call a function once on every node that has a CPU, and wait for all calls."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [
        node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")
    ]
    task = ray.remote(num_cpus=1)(function)
    ray.get(
        [
            task.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=True)
            ).remote()
            for node in nodes
        ]
    )
