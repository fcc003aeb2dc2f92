"""`jobs/retrain.py`, submitted to a cluster of several nodes, with catalog and results on S3 and
MLflow as a server. Two nodes die, and the storage fails now and then: rows and final table are
those of a run on this machine, in a folder, that nothing disturbs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mlflow
import pytest
from faulty_s3 import FAULTS, FaultyS3
from machines import Machines, Processes, machines, mlflow_server
from small_catalog import UserCatalog, files_under
from small_run import tiny_yaml

from musicrec import schema
from musicrec.storage.lock import owner_of
from musicrec.storage.store import SUCCESS, Store

# MUSICREC_TEST_PRESET=demo takes that preset, and compares with a run on the same cluster that
# nothing disturbs: half an hour.
PRESET = os.environ.get("MUSICREC_TEST_PRESET")
SHARE = 0.05  # of the requests fail in each way
TOLERANCE = 1e-3  # of every figure of the final table
SECONDS_TO_END = 300 if PRESET is None else 2400

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900 if PRESET is None else 6000)]


@dataclass(frozen=True)
class Cluster:
    """The nodes, the S3 server's failing front that they see, MLflow, and a root for stores."""

    nodes: Machines
    storage: FaultyS3
    mlflow_uri: str
    root: str

    def retrain(self, name: str, catalog: str) -> tuple[Processes, Store]:
        """Submit a retrain with a store of its own."""
        store = Store(f"{self.root}/{name}")
        options = ["--preset", PRESET, "--store", store.root, "--extract.rows-per-block", "4"]
        if PRESET is None:
            settings = self.nodes.folder / f"{name}.yaml"
            settings.write_text(tiny_yaml(store.root, catalog, launch="group"))
            options = ["--config", str(settings)]
        command = ("python", "jobs/retrain.py", *options)
        return self.nodes.submit(
            *command, name=f"retrain-{name}", MLFLOW_TRACKING_URI=self.mlflow_uri
        ), store


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, s3_server: Any) -> Iterator[Cluster]:
    folder, storage = tmp_path_factory.mktemp("cluster"), FaultyS3(s3_server.endpoint, share=0.0)
    root, direct = s3_server.fresh(), dict(os.environ)
    with (
        storage.running() as endpoint,
        mlflow_server(folder, f"{root}/mlflow", direct) as uri,
        machines(folder, direct | {"AWS_ENDPOINT_URL": endpoint}) as nodes,
    ):
        for _ in range(2):
            nodes.add_worker()
        yield Cluster(nodes, storage, uri, root)


@pytest.fixture(scope="module")
def undisturbed(request: pytest.FixtureRequest) -> Store:
    """The store of a run that nothing disturbed."""
    if PRESET is None:
        return Store(request.getfixturevalue("retrained").store)
    job, store = request.getfixturevalue("cluster").retrain("undisturbed", "demo")
    job.finish(SECONDS_TO_END)
    return store


def test_killed_nodes_and_a_failing_storage_change_nothing(
    cluster: Cluster, undisturbed: Store, catalog_of_users: UserCatalog
) -> None:
    nodes, storage = cluster.nodes, cluster.storage
    catalog = catalog_of_users.copy().write(f"{cluster.root}/catalog")
    requests, storage.share = storage.requests, SHARE
    with storage.held(r"/features/.*/parts/", after=1):
        job, store = cluster.retrain("disturbed", catalog)
        job.wait_until(lambda: storage.waiting > 0, SECONDS_TO_END)  # in the middle of extraction
        nodes.kill_worker(nodes.workers[0])
        assert parts(store) and not records(store, "extract")
    nodes.add_worker()
    with storage.held(r"/submodels/.*/last.pt", after=1):
        job.wait_until(lambda: storage.waiting > 0, SECONDS_TO_END)  # in the middle of a training
        nodes.kill_worker(next(node for node in nodes.workers if node.runs("TrainWorker")))
        assert len(records(store, "submodels")) < len(records(undisturbed, "submodels"))
    nodes.add_worker()
    job.finish(SECONDS_TO_END)
    storage.share = 0.0

    failed = {fault: storage.faults[fault] / (storage.requests - requests) for fault in FAULTS}
    assert all(share > SHARE / 2 for share in failed.values()), failed
    check_rows(store, undisturbed)
    check_registered(cluster, store)
    expected, found = dict(figures(final_table(undisturbed))), dict(figures(final_table(store)))
    assert len(expected) > 50
    assert found == pytest.approx(expected, abs=TOLERANCE, nan_ok=True)


@pytest.mark.skipif(PRESET is not None, reason="a job is stopped in the same way whatever its size")
def test_a_stopped_job_keeps_no_lock_and_goes_on_when_it_is_started_again(
    cluster: Cluster, catalog_of_users: UserCatalog
) -> None:
    catalog, store = (
        catalog_of_users.copy().write(f"{cluster.root}/catalog"),
        Store(f"{cluster.root}/stopped"),
    )
    settings = cluster.nodes.folder / "stopped.yaml"
    settings.write_text(tiny_yaml(store.root, catalog))
    command = ("python", "jobs/extract.py", "--config", str(settings))
    with cluster.storage.held(r"/features/.*/parts/", after=1):
        job = cluster.nodes.submit(*command, name="stopped")
        job.wait_until(lambda: cluster.storage.waiting > 0, SECONDS_TO_END)
        (key,) = store.folders("extract")
        assert owner_of(store, f"extract/{key}").is_at_work()
        cluster.nodes.stop("stopped")
        job.process.wait(timeout=SECONDS_TO_END)
        assert "Job 'stopped' was stopped" in job.said()
        assert not owner_of(store, f"extract/{key}").is_at_work()
        assert not records(store, "extract")
    again = cluster.nodes.submit(*command, name="started-again")
    again.finish(SECONDS_TO_END)
    (record,) = records(store, "extract")
    assert (record["rows_in"], record["rows_out"], record["rows_in_errors"]) == (24, 24, 0)
    assert record["rows_extracted_now"] < 24


def records(store: Store, stage: str) -> list[dict[str, Any]]:
    return [
        store.read_json(name)
        for name in sorted(files_under(store.root, stage))
        if name.endswith(SUCCESS)
    ]


def parts(store: Store) -> list[str]:
    return [name for name in sorted(files_under(store.root, "features")) if "/parts/" in name]


def check_rows(store: Store, undisturbed: Store) -> None:
    """Every track is there once, extracted and predicted, and every epoch; as many as in the other
    run."""
    (extraction,), (expected,) = records(store, "extract"), records(undisturbed, "extract")
    tracks = expected["rows_in"]
    assert (extraction["rows_in"], extraction["rows_out"], extraction["rows_in_errors"]) == (
        tracks,
        tracks,
        0,
    )
    facts = schema.pa.schema(schema.FEATURE_FACTS)
    rows = Counter(
        track
        for part in parts(store)
        for track in store.read_table(part, facts).column("track_id").to_pylist()
    )
    assert (len(rows), set(rows.values())) == (tracks, {1})
    for record in (*records(store, "submodels"), *records(store, "ensembles")):
        assert [epoch["epoch"] for epoch in record["history"]] == list(range(record["epochs"]))
        predicted = [store.read_table(name, schema.PREDICTIONS) for name in record["predictions"]]
        ids = Counter(
            track for table in predicted for track in table.column("track_id").to_pylist()
        )
        assert (len(ids), set(ids.values())) == (record["rows_out"], {1})
        assert record["rows_in"] == record["rows_out"] + record["rows_incomplete"]


def check_registered(cluster: Cluster, store: Store) -> None:
    """MLflow's server shows the registered ensemble, and a run for each model."""
    (registered,) = records(store, "registered")
    client = mlflow.MlflowClient(cluster.mlflow_uri)
    version = client.get_model_version("musicrec", registered["version"])
    assert version.run_id == registered["run_id"]
    assert registered["alias"] in version.aliases
    experiment = client.get_run(version.run_id).info.experiment_id
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{version.run_id}'")
    models = {
        record["model"] for record in (*records(store, "submodels"), *records(store, "ensembles"))
    }
    assert {run.info.run_name: run.info.status for run in children} == dict.fromkeys(
        models, "FINISHED"
    )


def final_table(store: Store) -> dict[str, dict[str, Any]]:
    """The test scores of every model and baseline."""
    (name,) = (
        name for name in files_under(store.root, "evaluation") if name.endswith("results.json")
    )
    return store.read_json(name)


def figures(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number at any depth with its path."""
    if isinstance(value, int | float):
        yield name, value
    children = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, child in children:
        yield from figures(child, f"{name}/{key}")
