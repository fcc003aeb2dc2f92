"""Jobs in processes of their own, that can be killed at any moment."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from small_run import REPOSITORY, job_environment

SECONDS_TO_START = 240
SECONDS_TO_END = 60
MARK = "MUSICREC_TEST_RUN"


class Driver:
    """A job in a process of its own, with a Ray of its own; all its descendants carry a mark in their environment."""

    def __init__(self, log: Path, job: str, *arguments: str) -> None:
        self.mark, self.log = uuid.uuid4().hex, log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(REPOSITORY / "jobs" / f"{job}.py"), *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=REPOSITORY,
                env=job_environment(**{MARK: self.mark}),
                start_new_session=True,
            )

    def wait_until(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS_TO_START
        while not reached():
            assert time.monotonic() < deadline, f"not reached in {SECONDS_TO_START} s: {self.said()}"
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=0.02)
                pytest.fail(f"it ended before it was to be killed: {self.said()}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def finish(self) -> None:
        assert self.process.wait(timeout=SECONDS_TO_START) == 0, self.said()

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def descendants(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == self.mark:
                    found.append(process)
        return found

    def end(self) -> None:
        """Kill whatever of it is left."""
        for process in self.descendants():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()

    def wait_for_descendants(self) -> None:
        """Ray's processes end by themselves once their driver is gone."""
        deadline = time.monotonic() + SECONDS_TO_END
        while left := self.descendants():
            assert time.monotonic() < deadline, f"still there {SECONDS_TO_END} s after the driver: {left}"
            psutil.wait_procs(left, timeout=0.5)
