"""A Ray cluster of several nodes on this machine, each from `ray start` as the README has it, and
an MLflow server beside it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from musicrec.runtime.cluster import free_port

ROOT = Path(__file__).parents[2]
LOOPBACK = "127.0.0.1"
BIN = Path(sys.executable).parent
MARK = "MUSICREC_TEST_NODE"
SECONDS_TO_START = 90  # a node; below the time-out of every test, so that its last words are shown
SECONDS_TO_WORK = 240
SECONDS_TO_END = 120
# A node that was killed is missed after three seconds, and not after Ray's half a minute.
HEALTH = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 1000,
}
HEALTH["health_check_failure_threshold"] = 3
OBJECT_STORE_BYTES = 128 * 2**20


class Processes:
    """A process and all that it started, known by a mark in their environment."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self.mark, self.log = uuid.uuid4().hex, log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=environment | {MARK: self.mark},
                start_new_session=True,
            )

    def all(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == self.mark:
                    found.append(process)
        return found

    def wait_until(self, reached: Callable[[], bool], seconds: float = SECONDS_TO_WORK) -> None:
        """AssertionError with the process' last words where it ends, or time is up, before that."""
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, f"not reached in {seconds:g} s: {self.said()}"
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=0.02)
                raise AssertionError(
                    f"it ended with {self.process.returncode} before that: {self.said()}"
                )

    def runs(self, name: str) -> bool:
        """Whether one of its processes has this in its command line."""
        for process in self.all():
            with contextlib.suppress(psutil.Error):
                if name in " ".join(process.cmdline()):
                    return True
        return False

    def finish(self, seconds: float = SECONDS_TO_WORK) -> None:
        """AssertionError with the process' last words unless it succeeds."""
        assert self.process.wait(timeout=seconds) == 0, self.said()

    def kill_first(self) -> None:
        """SIGKILL to the process alone: what it started, as a driver its Ray, ends by itself."""
        self.process.kill()
        self.process.wait()
        deadline = time.monotonic() + SECONDS_TO_END
        while left := self.all():
            assert time.monotonic() < deadline, f"still there after {SECONDS_TO_END} s: {left}"
            for process in left:
                with contextlib.suppress(psutil.Error):
                    if any(part.endswith("default_worker.py") for part in process.cmdline()):
                        # A worker without work searches for its node for 25 s before it ends.
                        process.kill()
            psutil.wait_procs(left, timeout=0.5)

    def kill(self) -> None:
        """SIGKILL to all of it."""
        while left := self.all():
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=1)
        self.process.wait()

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]


class Machines:
    """A head without CPUs of its own and any number of worker nodes, with Ray's token, and the
    environment of who submits jobs to it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.workers = folder, list[Processes]()
        self._started = 0
        self._temporary = Path(
            tempfile.mkdtemp(prefix="ray-")
        )  # the sockets in it have names of 107 bytes at most
        self.gcs, dashboard = free_port(), free_port()
        self.environment = {
            name: value
            for name, value in environment.items()
            if not name.startswith(("RAY_", "PYTHONPATH"))
        }
        self.environment |= {
            "PATH": os.pathsep.join(
                [str(BIN), environment["PATH"]]
            ),  # `python` is the environment's
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(16),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_API_SERVER_ADDRESS": f"http://{LOOPBACK}:{dashboard}",
        }
        head = [
            "--head",
            f"--port={self.gcs}",
            "--num-cpus=0",
            f"--dashboard-host={LOOPBACK}",
            f"--dashboard-port={dashboard}",
        ]
        head += [f"--system-config={json.dumps(HEALTH)}", f"--ray-client-server-port={free_port()}"]
        self.head = self._start(head)

    def add_workers(self, count: int) -> None:
        """Start worker nodes of one CPU each at the same time, and wait for them."""
        arguments = [f"--address={LOOPBACK}:{self.gcs}", "--num-cpus=1"]
        nodes = [self._launch(arguments) for _ in range(count)]
        self.workers += nodes
        for node in nodes:
            self._wait(node, self.head)

    def _start(self, arguments: list[str]) -> Processes:
        node = self._launch(arguments)
        self._wait(node)
        return node

    def _launch(self, arguments: list[str]) -> Processes:
        # On one machine the nodes must not choose their workers' ports from the same range.
        own = [
            "--min-worker-port=0",
            "--max-worker-port=0",
            "--dashboard-agent-listen-port=0",
            f"--node-ip-address={LOOPBACK}",
        ]
        self._started += 1
        # Nor may they share a folder: the first that needs a job's files no longer would take them
        # from the others.
        own += [
            f"--temp-dir={self._temporary / str(self._started)}",
            f"--object-store-memory={OBJECT_STORE_BYTES}",
            "--block",
        ]
        log = self.folder / f"node-{self._started}.log"
        return Processes([str(BIN / "ray"), "start", *arguments, *own], log, self.environment)

    def _wait(self, node: Processes, head: Processes | None = None) -> None:
        """Wait until a node is started; where it is not, end it and raise AssertionError."""

        def started() -> bool:
            assert head is None or head.process.poll() is None, (
                f"the head ended, and a worker waits for it: {head.said()}"
            )
            return "Ray runtime started" in node.log.read_text(errors="replace")

        try:
            node.wait_until(started, SECONDS_TO_START)
        except BaseException:
            node.kill()
            raise

    def kill_worker(self, worker: Processes) -> None:
        """The node's end, as when its machine loses power."""
        self.workers.remove(worker)
        worker.kill()

    def submit(self, *entrypoint: str, name: str, **variables: str) -> Processes:
        """`ray job submit` from the repository, its output followed; the process ends with the
        job."""
        command = [str(BIN / "ray"), "job", "submit", "--submission-id", name, "--working-dir", "."]
        command += ["--runtime-env-json", json.dumps({"env_vars": variables}), "--", *entrypoint]
        return Processes(command, self.folder / f"{name}.log", self.environment)

    def stop(self, name: str) -> None:
        """`ray job stop`."""
        subprocess.run(
            [str(BIN / "ray"), "job", "stop", name],
            env=self.environment,
            check=True,
            capture_output=True,
        )

    def close(self) -> None:
        for node in (*self.workers, self.head):
            node.kill()
        shutil.rmtree(self._temporary, ignore_errors=True)


@contextlib.contextmanager
def machines(folder: Path, environment: dict[str, str]) -> Iterator[Machines]:
    """A cluster with a head; all of it ends with the ``with`` block."""
    cluster = Machines(folder, environment)
    try:
        yield cluster
    finally:
        cluster.close()


@contextlib.contextmanager
def mlflow_server(folder: Path, artifacts: str, environment: dict[str, str]) -> Iterator[str]:
    """An MLflow server as a process, artifacts on S3; its URI."""
    port = free_port()
    command = [
        str(BIN / "mlflow"),
        "server",
        f"--backend-store-uri=sqlite:///{folder}/mlflow.db",
        f"--artifacts-destination={artifacts}",
    ]
    server = Processes(
        [*command, f"--host={LOOPBACK}", f"--port={port}", "--workers=1"],
        folder / "mlflow.log",
        environment,
    )

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
            return True
        return False

    try:
        server.wait_until(answers)
        yield f"http://{LOOPBACK}:{port}"
    finally:
        server.kill()
