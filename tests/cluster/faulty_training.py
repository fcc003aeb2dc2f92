"""A training on a cluster of two worker nodes whose worker process is killed, and later the node it
works on. Run in a process of its own.

    python faulty_training.py STORE

Prints one JSON line: what was killed, and the epochs as the driver heard of them. The reference is
the same training in this process, without Ray and undisturbed, in STORE/calm.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import sys
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import torch

from musicrec import schema
from musicrec.config.sections import RaySettings, TrainSettings
from musicrec.features import codec
from musicrec.runtime.cluster import connect
from musicrec.specs.submodel import SubmodelSpec
from musicrec.storage.parquet import parquet_bytes
from musicrec.storage.store import Store
from musicrec.training.checkpoints import StoreCheckpoints, load_weights
from musicrec.training.distributed import train_all
from musicrec.training.loop import Schedule, World
from musicrec.training.training_run import EXAMPLES, TrainingRun, run

EPOCHS, KILL_WORKER_AT, KILL_NODE_AT = 9, 2, 5
# A node that is gone is known to be after some seconds, not after half a minute.
HEALTH_CHECKS = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_failure_threshold": 5,
}
TIMED = ("seconds", "examples_per_second", "peak_mebibytes", "ended")
TRAIN, VALIDATION, DIMENSIONS = 24, 8, 4
SPEC = SubmodelSpec(
    "mfcc.large_rnn",
    "large_rnn",
    DIMENSIONS,
    feature="mfcc",
    sizes={"hidden": (4, 4, 4)},
    pool=(1, 16),
)


def prepare(root: str) -> TrainingRun:
    """A store with one part of made features, and a training of it."""
    store = Store(root)
    generator = np.random.default_rng(0)
    rows = TRAIN + VALIDATION
    field = codec.field("mfcc", (12, 643), "float32")
    cells = [codec.encode(generator.normal(size=(12, 643)), "float32") for _ in range(rows)]
    store.write(
        "part.parquet",
        parquet_bytes(pa.table({"mfcc": cells}, pa.schema([field])), row_group_size=8),
    )
    artists = [f"a{row}" for row in range(rows)]
    vectors = list(generator.normal(size=(rows, DIMENSIONS)).astype(np.float32))
    store.write_table(
        "embeddings.parquet",
        pa.table({"artist_id": artists, "vector": vectors}, schema.EMBEDDINGS),
        schema.EMBEDDINGS,
    )
    examples = {
        "track_id": [f"t{row}" for row in range(rows)],
        "artist_id": artists,
        "split": ["train"] * TRAIN + ["validation"] * VALIDATION,
        "part": [store.uri("part.parquet")] * rows,
        "row": list(range(rows)),
    }
    store.write_table(
        "submodels/key/examples.parquet",
        schema.conform(pa.table(examples), EXAMPLES, "examples"),
        EXAMPLES,
    )
    store.write_json("submodels/key/spec.json", SPEC.as_json())
    return TrainingRun(
        store=root,
        name="mfcc.large_rnn",
        folder="submodels/key",
        kind="submodel",
        objective="embedding",
        targets="embeddings.parquet",
        schedule=Schedule((1e-3,), (EPOCHS,), EPOCHS, 8),
        seed=0,
    )


def assert_same_training(store: Store, folder: str, other: Store, other_folder: str) -> None:
    """Every epoch the same but for its times, and the same weights to the bit."""
    histories = [
        StoreCheckpoints(*place).load_last()["progress"]["history"]
        for place in ((store, folder), (other, other_folder))
    ]
    first, second = (
        [{k: v for k, v in record.items() if k not in TIMED} for record in history]
        for history in histories
    )
    assert first == second
    weights, others = load_weights(store, folder), load_weights(other, other_folder)
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def training_worker(nodes: list[Any]) -> tuple[psutil.Process, Any]:
    """The process of the training's worker, and the node that it is on."""
    raylets = {node.all_processes["raylet"][0].process.pid: node for node in nodes}
    for pid, node in raylets.items():
        for process in psutil.Process(pid).children():
            if any("TrainWorker" in part for part in process.cmdline()):
                return process, node
    raise LookupError("no node has a training's worker")


def main(root: str) -> None:
    import ray
    from ray.cluster_utils import Cluster

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    head = {
        "num_cpus": 0,
        "include_dashboard": True,
        "dashboard_port": port,
        "_system_config": HEALTH_CHECKS,
    }
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    os.environ["RAY_ADDRESS"] = cluster.address
    connect(RaySettings())
    heard: list[int] = []
    killed: list[str] = []

    def on_epoch(_: str, record: dict[str, float]) -> None:
        heard.append(int(record["epoch"]))
        if not killed and record["epoch"] >= KILL_WORKER_AT:
            process, _ = training_worker(nodes)
            process.send_signal(signal.SIGKILL)
            killed.append("worker")
        elif killed == ["worker"] and record["epoch"] >= KILL_NODE_AT:
            _, node = training_worker(nodes)
            cluster.remove_node(node, allow_graceful=False)
            killed.append("node")

    def on_done(_: TrainingRun) -> None:
        killed.append("done")

    def on_failed(_: TrainingRun, reason: str) -> None:
        killed.append(reason)

    train_all([prepare(f"{root}/faulty")], TrainSettings(), on_epoch, on_done, on_failed)
    calm = prepare(f"{root}/calm")
    run(dataclasses.replace(calm), World(), lambda model: model)
    print(json.dumps({"killed": killed, "heard": heard}))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
