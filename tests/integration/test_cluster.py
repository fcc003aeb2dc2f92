"""Jobs on a cluster of several nodes, with catalog and results on S3 and MLflow as a server.

Nodes, a worker process and drivers are killed, a job is stopped, MLflow is away for some time, and
both storages fail now and then: rows, weights and the final table are those of a run that nothing
disturbs.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from faulty_s3 import FAULTS, FaultyS3
from machines import LOOPBACK, ROOT, Machines, Processes, machines, mlflow_server
from proxy import Proxy
from small_catalog import UserCatalog, small_catalog
from small_run import tiny_yaml
from store_checks import (
    check_extraction,
    check_mlflow,
    check_training_runs,
    check_weights,
    feature_parts,
    figures,
    final_table,
    records,
    unfinished,
)

from musicrec.extraction.manifest import Blocks
from musicrec.storage.lock import owner_of
from musicrec.storage.store import Store

# MUSICREC_TEST_PRESET=demo takes that preset, and compares with a run on the same cluster that
# nothing disturbs: half an hour.
PRESET = os.environ.get("MUSICREC_TEST_PRESET")
SHARE = 0.05  # of the requests fail in each way
TOLERANCE = 1e-3  # of every figure of the final table
SECONDS_TO_END = 300 if PRESET is None else 2400
KILLS = int(os.environ.get("MUSICREC_TEST_KILLS", "2"))
ROWS_PER_BLOCK, BLOCKS_UNTIL_A_KILL = 2, 4
SHARE_OF_ARTIFACTS = 0.15  # of the requests to the storage of MLflow fail
REFUSED = 4  # connections to MLflow
# MUSICREC_TEST_OUTAGE=60 takes MLflow away for 60 seconds instead.
OUTAGE = float(os.environ.get("MUSICREC_TEST_OUTAGE", "0"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900 if PRESET is None else 6000)]


@dataclass(frozen=True)
class Cluster:
    """The nodes, the S3 server's failing front that they see, MLflow, and a root for stores."""

    nodes: Machines
    storage: FaultyS3
    artifacts: FaultyS3
    mlflow: Proxy
    root: str

    @property
    def mlflow_uri(self) -> str:
        """The address of MLflow that the jobs have."""
        return f"http://{LOOPBACK}:{self.mlflow.port}"

    def settings(self, name: str, catalog: str, **changed: int) -> tuple[Path, Store]:
        """Write the tiny configuration of a run with a store of its own."""
        store, path = Store(f"{self.root}/{name}"), self.nodes.folder / f"{name}.yaml"
        text = tiny_yaml(store.root, catalog, launch="group")
        for key, value in changed.items():
            assert f"{key}: 4" in text
            text = text.replace(f"{key}: 4", f"{key}: {value}")
        path.write_text(text)
        return path, store

    def retrain(self, name: str, *options: str) -> Processes:
        """Submit a retrain."""
        command = ("python", "jobs/retrain.py", *options)
        variables = {
            "MLFLOW_TRACKING_URI": self.mlflow_uri,
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # a refused connection is a failed call
        }
        return self.nodes.submit(*command, name=name, **variables)

    def extract(self, settings: Path, number: int) -> Processes:
        """Start a driver of extraction that joins the cluster from outside."""
        environment = self.nodes.environment | {
            "RAY_ADDRESS": f"{LOOPBACK}:{self.nodes.gcs}",
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "jobs/extract.py", "--config", str(settings)]
        return Processes(command, self.nodes.folder / f"driver-{number}.log", environment)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, s3_server: Any) -> Iterator[Cluster]:
    folder, storage = tmp_path_factory.mktemp("cluster"), FaultyS3(s3_server.endpoint, share=0.0)
    root, direct = s3_server.fresh(), dict(os.environ)
    artifacts = FaultyS3(s3_server.endpoint, share=SHARE_OF_ARTIFACTS / len(FAULTS), seed=1)
    with (
        storage.running() as endpoint,
        artifacts.running() as of_artifacts,
        machines(folder, direct | {"AWS_ENDPOINT_URL": endpoint}) as nodes,
        mlflow_server(folder, f"{root}/mlflow", direct | {"AWS_ENDPOINT_URL": of_artifacts}) as uri,
    ):
        nodes.add_workers(2)
        proxy = Proxy(int(uri.rpartition(":")[2]))
        yield Cluster(nodes, storage, artifacts, proxy, root)
        proxy.close()


@pytest.mark.skipif(PRESET is not None, reason="kills cost the same whatever the job's size")
def test_a_driver_killed_at_random_moments_costs_no_row_and_no_second_decoding(
    cluster: Cluster,
) -> None:
    catalog = small_catalog().copied(2 * (1 + KILLS))
    settings, store = cluster.settings(
        "killed", catalog.write(f"{cluster.root}/killed-catalog"), rows_per_block=ROWS_PER_BLOCK
    )
    draw = random.Random(0)
    for kill in range(KILLS):
        driver = cluster.extract(settings, kill)
        kill_at_work(driver, store, draw.randrange(BLOCKS_UNTIL_A_KILL), draw.random() / 2)
    cluster.extract(settings, KILLS).finish(SECONDS_TO_END)
    check_extraction(store, catalog.track_ids())
    assert decoded_after_the_commit(cluster.storage, store) == []


def test_kills_a_stop_outages_and_failing_storages_change_nothing(
    cluster: Cluster, request: pytest.FixtureRequest, catalog_of_users: UserCatalog
) -> None:
    storage = cluster.storage
    if PRESET is None:
        undisturbed = Store(f"{request.getfixturevalue('retrained_folder')}/finished")
        catalog = catalog_of_users.copy().write(f"{cluster.root}/catalog")
        settings, store = cluster.settings("disturbed", catalog)
        options = ("--config", str(settings))
    else:
        undisturbed, store = (Store(f"{cluster.root}/{name}") for name in ("calm", "disturbed"))
        options = ("--preset", PRESET, "--extract.rows-per-block", "4", "--store")
        cluster.retrain("calm", *options, undisturbed.root).finish(SECONDS_TO_END)
        options = (*options, store.root)
    requests, storage.share = storage.requests, SHARE

    interrupted = disturb(cluster, store, options)
    storage.share = 0.0

    failed = {fault: storage.faults[fault] / (storage.requests - requests) for fault in FAULTS}
    assert all(share > SHARE / 2 for share in failed.values()), failed
    assert cluster.mlflow.refused >= 1 if OUTAGE else cluster.mlflow.refused == REFUSED
    assert cluster.artifacts.faults.total() > 0
    (record,), (expected,) = records(store, "extract"), records(undisturbed, "extract")
    assert record["rows_out"] == expected["rows_out"] > record["rows_extracted_now"]
    check_training_runs(store)
    compared, found = dict(figures(final_table(undisturbed))), dict(figures(final_table(store)))
    assert len(compared) > 50
    assert found == pytest.approx(compared, abs=TOLERANCE, nan_ok=True)
    if PRESET is None:
        check_extraction(store, catalog_of_users.track_ids())
        assert len(interrupted) >= 2
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("MLFLOW_TRACKING_URI", cluster.mlflow_uri)
            check_weights(store, settings, interrupted)
        (registered,) = records(store, "registered")
        assert registered["alias"] == "champion"
        check_mlflow(cluster.mlflow_uri, registered["version"], "musicrec", epochs=2)


def disturb(cluster: Cluster, store: Store, options: tuple[str, ...]) -> list[str]:
    """Run a retrain to its end through the death of two nodes and of a training worker, and a stop.

    Returns
    -------
    list of str
        The folders of the training runs that were interrupted.
    """
    nodes, storage = cluster.nodes, cluster.storage
    with storage.held(r"/features/.*/parts/", after=1):  # in the middle of extraction
        job = cluster.retrain("stopped", *options)
        job.wait_until(lambda: storage.waiting > 0, SECONDS_TO_END)
        nodes.kill_worker(nodes.workers[0])
        assert feature_parts(store) and not records(store, "extract")
        (key,) = store.folders("extract")
        assert owner_of(store, f"extract/{key}").is_at_work()
        nodes.stop("stopped")
        job.process.wait(timeout=SECONDS_TO_END)
        assert "Job 'stopped' was stopped" in job.said()
        assert not owner_of(store, f"extract/{key}").is_at_work()
    nodes.add_workers(1)
    job = cluster.retrain("continued", *options)
    with storage.held(r"/submodels/.*/last.pt", after=1):  # in the middle of a training run
        job.wait_until(lambda: storage.waiting > 0, SECONDS_TO_END)
        interrupted = unfinished(store, "submodels")
        assert interrupted
        cluster.mlflow.refuse(sys.maxsize if OUTAGE else REFUSED)
        if OUTAGE:
            threading.Timer(OUTAGE, cluster.mlflow.refuse, (0,)).start()
        nodes.kill_worker(next(node for node in nodes.workers if node.runs("TrainWorker")))
    nodes.add_workers(1)
    with storage.held(r"/ensembles/.*/last.pt", after=1):
        job.wait_until(lambda: storage.waiting > 0, SECONDS_TO_END)
        interrupted += unfinished(store, "ensembles")
        kill_training_worker(nodes)
    job.finish(SECONDS_TO_END)
    return interrupted


def kill_at_work(driver: Processes, store: Store, blocks: int, pause: float) -> None:
    """Kill a driver some time after it has read its catalog and committed some more blocks."""
    before = len(feature_parts(store))
    driver.wait_until(
        lambda: "catalog" in driver.said() and len(feature_parts(store)) >= before + blocks
    )
    with pytest.raises(subprocess.TimeoutExpired):  # it does not end before that
        driver.process.wait(timeout=pause)
    driver.process.kill()


def kill_training_worker(nodes: Machines) -> None:
    """Kill the process in which a training run computes, and leave its node."""
    workers = [process for node in nodes.workers for process in node.all()]
    (worker,) = (each for each in workers if "TrainWorker" in command_line(each))
    worker.send_signal(signal.SIGKILL)


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it ended meanwhile
        return ""


def decoded_after_the_commit(storage: FaultyS3, store: Store) -> list[tuple[str, float]]:
    """Return the tracks whose audio was read after their block had been committed, by how many
    seconds."""
    (key,) = store.folders("features")
    committed = {
        path.rpartition("/")[2]: done
        for done, path in reversed(storage.writes)
        if f"/features/{key}/parts/" in path
    }
    return [
        (row["item"], read - committed[f"{row['block']}.parquet"])
        for row in Blocks(store, f"features/{key}").manifest().to_pylist()
        for read, path in storage.reads
        if row["uri"].endswith(path) and read > committed[f"{row['block']}.parquet"]
    ]
