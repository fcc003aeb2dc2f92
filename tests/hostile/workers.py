"""Reads many hostile inputs in processes of their own, and knows of one that ends or is not done in time."""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from hostile_inputs import hostile_input
from worker import Outcome, serve

SECONDS = 60.0  # after which an input counts as one that hangs
SECONDS_TO_START = 120.0


class Worker:
    """A process that reads inputs. It is started again after it ended or hung."""

    def __enter__(self) -> Self:
        self._start()
        return self

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        if not self._connection.poll(SECONDS_TO_START):
            raise RuntimeError("a process to read in did not start")
        self._connection.recv()

    def read(self, number: int) -> Outcome:
        """What becomes of an input."""
        try:
            self._connection.send(number)
            if self._connection.poll(SECONDS):
                return self._connection.recv()
            failure = f"it hung for {SECONDS:g} s"
        except (EOFError, ConnectionError):
            self._process.join()
            failure = f"it ended its process ({self._process.exitcode})"
        self._end()
        self._start()
        hostile = hostile_input(number)
        return Outcome(number, hostile.form, hostile.kind, len(hostile.content), failure=failure)

    def _end(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.join()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()


def read_all(numbers: Iterable[int], workers: int = 2) -> Iterator[Outcome]:
    """The outcome of each input, as they come."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in numbers:
        waiting.put(number)
    done: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            with Worker() as worker:
                while True:
                    done.put(worker.read(waiting.get_nowait()))
        except queue.Empty:
            pass
        finally:
            done.put(None)

    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(work) for _ in range(workers)]
        for _ in range(workers):
            while (outcome := done.get()) is not None:
                yield outcome
        for future in futures:
            future.result()
