"""Read many hostile inputs in separate processes, and detect crashes and hangs."""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from hostile_inputs import hostile_input
from worker import Outcome, serve

SECONDS = 60.0  # after which an input counts as hanging
SECONDS_TO_START = 120.0


class Worker:
    """A process that reads inputs, restarted after it ended or hung."""

    def __enter__(self) -> Self:
        self._start()
        return self

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, child_connection = context.Pipe()
        self._process = context.Process(target=serve, args=(child_connection,), daemon=True)
        self._process.start()
        child_connection.close()
        if not self._connection.poll(SECONDS_TO_START):
            raise RuntimeError("the reading process did not start")
        self._connection.recv()

    def read(self, number: int) -> Outcome:
        """Read an input and return the outcome."""
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
    """Yield the outcome of each input as it is completed."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in numbers:
        waiting.put(number)
    done: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()

    def read_from_queue() -> None:
        try:
            with Worker() as worker:
                while True:
                    done.put(worker.read(waiting.get_nowait()))
        except queue.Empty:
            pass
        finally:
            done.put(None)

    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(read_from_queue) for _ in range(workers)]
        for _ in range(workers):
            while (outcome := done.get()) is not None:
                yield outcome
        for future in futures:
            future.result()
