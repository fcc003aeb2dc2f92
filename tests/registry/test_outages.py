"""An outage of MLflow ends no run: what it could not take is logged when it answers again."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import botocore.exceptions
import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException
from proxy import Proxy

from musicrec.config.jobs import Config
from musicrec.config.load import preset
from musicrec.config.sections import RegistrySettings
from musicrec.registry import deferred, outages
from musicrec.registry import runs as tracking
from musicrec.registry.outages import is_outage, until_reachable
from musicrec.registry.training_log import training_log
from musicrec.storage.store import Store

SECONDS_TO_START = 120  # a bound against hanging: the server imports much and makes its database


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an MLflow server on SQLite."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--artifacts-destination", str(folder)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, env=environment
        )
    retries = requests.adapters.Retry(total=1000, backoff_factor=0.1, backoff_max=0.5)
    try:
        with requests.Session() as session:
            session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retries))
            assert session.get(f"http://127.0.0.1:{port}/health", timeout=SECONDS_TO_START).ok
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def proxy(server: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before the server; MLflow's client does not retry by itself."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.delenv(tracking.URI_VARIABLE, raising=False)
    before = mlflow.get_tracking_uri()
    proxy = Proxy(server)
    yield proxy
    proxy.close()
    mlflow.set_tracking_uri(before)
    os.environ.pop(tracking.URI_VARIABLE, None)


def configured(proxy: Proxy, tmp_path: Path) -> tuple[Config, Store]:
    registry = RegistrySettings(tracking_uri=f"http://127.0.0.1:{proxy.port}")
    return dataclasses.replace(preset("demo"), registry=registry), Store(str(tmp_path / "store"))


def epoch(number: int) -> dict[str, float]:
    rates = {"learning_rate": 0.1, "seconds": 1.0, "stage": 0}
    return {"epoch": number, "loss": 1.0 / (1 + number), "validation": number / 10} | rates


def logged(key: str) -> tuple[mlflow.entities.Run, mlflow.entities.Run, mlflow.MlflowClient]:
    """The parent run with a key and its child."""
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("musicrec").experiment_id
    (parent,) = client.search_runs([experiment], f"tags.`{tracking.KEY_TAG}` = '{key}'")
    (child,) = client.search_runs(
        [experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    )
    return parent, child, client


def steps(client: mlflow.MlflowClient, run: mlflow.entities.Run) -> list[tuple[int, float]]:
    history = client.get_metric_history(run.info.run_id, "validation_cosine")
    return sorted((metric.step, metric.value) for metric in history)


@pytest.mark.slow
@pytest.mark.parametrize("refused", [1, 3])
def test_metrics_of_an_outage_are_all_there_in_the_end(
    proxy: Proxy, tmp_path: Path, refused: int
) -> None:
    config, store = configured(proxy, tmp_path)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "page.html").write_text("<p>page</p>")
    key, seen = f"outage-{refused}", proxy.refused
    with training_log(config, store, "catalog", str(tmp_path), {}, key=key) as log:
        log.begin("mfcc", "training", {"size": 8})
        log.epoch("mfcc", "cosine", epoch(0))
        proxy.refuse(refused)
        log.epoch("mfcc", "cosine", epoch(1))
        log.epoch("mfcc", "cosine", epoch(2))
        log.folder("report", str(tmp_path / "report"))
        (tmp_path / "report" / "page.html").unlink()  # the caller's folder is temporary
        log.end("mfcc", "cosine", [epoch(number) for number in range(3)])
    until_reachable(deferred.send_unsent, "test")
    assert proxy.refused - seen == refused
    parent, child, client = logged(key)
    assert steps(client, child) == [(0, 0.0), (1, 0.1), (2, 0.2)]
    assert (child.info.status, child.data.params["size"]) == ("FINISHED", "8")
    assert parent.info.status == "FINISHED"
    assert [file.path for file in client.list_artifacts(parent.info.run_id, "report")] == [
        "report/page.html"
    ]
    assert "learning_curves.png" in {file.path for file in client.list_artifacts(child.info.run_id)}


@pytest.mark.slow
def test_a_log_that_begins_in_an_outage_is_filled_in_at_its_end(
    proxy: Proxy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, store = configured(proxy, tmp_path)
    proxy.refuse(1)
    with training_log(config, store, "catalog", str(tmp_path), {}, key="late") as log:
        assert proxy.refused == 1
        log.begin("lyrics", "training", {"size": 8})
        log.epoch("lyrics", "cosine", epoch(0))
    _, child, client = logged("late")
    assert steps(client, child) == [(0, 0.0)]
    assert "does not answer" in "".join(capsys.readouterr())


@pytest.mark.slow
def test_what_cannot_do_without_mlflow_is_tried_again(proxy: Proxy, tmp_path: Path) -> None:
    config, store = configured(proxy, tmp_path)
    proxy.refuse(1)
    until_reachable(lambda: tracking.connect(config.registry, store), "test")
    assert proxy.refused == 1


def test_an_error_of_a_with_block_is_raised_though_mlflow_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(deferred, "_unsent", [])
    with socket.create_server(("127.0.0.1", 0)) as free:
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    config = dataclasses.replace(preset("demo"), registry=RegistrySettings(tracking_uri=uri))
    before = mlflow.get_tracking_uri()
    try:
        with (
            pytest.raises(ZeroDivisionError),
            training_log(config, Store(str(tmp_path)), "catalog", str(tmp_path), {}) as log,
        ):
            log.begin("lyrics", "training", {})
            raise ZeroDivisionError
    finally:
        mlflow.set_tracking_uri(before)
        os.environ.pop(tracking.URI_VARIABLE, None)


def refused_by_s3(status: int) -> botocore.exceptions.ClientError:
    response = {"Error": {"Code": "x"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.exceptions.ClientError(response, "PutObject")


def unreachable_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    mlflow.MlflowClient(f"http://127.0.0.1:{port}").search_experiments()


def unreachable_s3() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="a",
        aws_secret_access_key="b",
        region_name="us-east-1",
        config=boto3.session.Config(retries={"total_max_attempts": 1}),
    ).list_buckets()


@pytest.mark.parametrize("call", [unreachable_server, unreachable_s3])
def test_an_unreachable_server_is_an_outage(call: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises((MlflowException, botocore.exceptions.BotoCoreError)) as raised:
        call()
    assert is_outage(raised.value)


def test_a_refused_request_is_no_outage() -> None:
    assert is_outage(refused_by_s3(503))
    assert not is_outage(refused_by_s3(403))
    assert not is_outage(botocore.exceptions.NoCredentialsError())
    assert not is_outage(ValueError("a mistake of ours"))
    with pytest.raises(ValueError, match="once"):
        until_reachable(raise_once, "test")


def raise_once() -> None:
    raise ValueError("once")


@pytest.mark.slow
def test_the_retry_settings_reach_mlflows_clients_unless_the_user_has_some(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, store = configured(proxy, tmp_path)
    for variable in tracking.RETRIES:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "4")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    tracking.connect(config.registry, store)
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "60"
    # As MLflow makes its client, whose settings come from the environment only.
    retries = boto3.Session().client("s3").meta.config.retries
    assert (retries["mode"], retries["total_max_attempts"]) == ("standard", 4)
    assert outages.OUTAGE_SECONDS >= 60
