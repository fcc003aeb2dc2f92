"""A whole retrain while MLflow is away for some time and its artifact store fails now and then."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

import mlflow
import pytest
from faulty_s3 import FAULTS, FaultyS3
from machines import mlflow_server
from proxy import Proxy
from small_catalog import UserCatalog
from small_run import tiny_config

from musicrec.config.sections import RegistrySettings
from musicrec.pipeline.retrain import retrain
from musicrec.telemetry.log import logger

REFUSED = 4
# MUSICREC_TEST_OUTAGE=60 takes the server away for so many seconds instead.
SECONDS = float(os.environ.get("MUSICREC_TEST_OUTAGE", "0"))
FAILING = 0.15  # of the requests to the artifact store


class Trigger(logging.Handler):
    """Take the server away when the first model is trained."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__()
        self.proxy, self.is_done = proxy, False

    def emit(self, record: logging.LogRecord) -> None:
        if not self.is_done and getattr(record, "stage", "").startswith("train "):
            self.is_done = True
            self.proxy.refuse(sys.maxsize if SECONDS else REFUSED)
            if SECONDS:
                threading.Timer(SECONDS, self.proxy.refuse, (0,)).start()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_retrain_survives_an_outage_and_faults_of_the_artifact_store(
    ray_session: None,
    s3_server: Any,
    catalog_of_users: UserCatalog,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    storage = FaultyS3(s3_server.endpoint, share=FAILING / len(FAULTS), seed=1)
    artifacts = f"{s3_server.fresh()}/mlflow"
    with (
        storage.running() as endpoint,
        mlflow_server(tmp_path, artifacts, os.environ | {"AWS_ENDPOINT_URL": endpoint}) as uri,
    ):
        proxy = Proxy(int(uri.rpartition(":")[2]))
        registry = RegistrySettings(
            tracking_uri=f"http://127.0.0.1:{proxy.port}", require_baseline=False
        )
        catalog = catalog_of_users.write(str(tmp_path / "catalog"))
        config = dataclasses.replace(
            tiny_config(str(tmp_path / "store"), catalog), registry=registry
        )
        trigger = Trigger(proxy)
        logger().addHandler(trigger)
        try:
            done, registered = retrain(config)
        finally:
            logger().removeHandler(trigger)
        client = mlflow.MlflowClient()
        experiment = client.get_experiment_by_name("musicrec").experiment_id
        runs = {run.info.run_name: run for run in client.search_runs([experiment])}
        epochs = {
            name: len(client.get_metric_history(runs[name].info.run_id, "loss"))
            for name in done.models
        }
        champion = client.get_model_version_by_alias("musicrec", "champion")
        proxy.close()
    assert proxy.refused >= 1 if SECONDS else proxy.refused == REFUSED
    print(f"{proxy.refused} connections refused, {storage.faults.total()} faults of the artifacts")
    assert storage.faults.total() > 0
    assert epochs == dict.fromkeys(done.models, 2)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert (champion.version, registered.record["alias"]) == ("1", "champion")
