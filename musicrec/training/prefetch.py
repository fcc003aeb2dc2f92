"""Batches made ready while the one before is computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
# One batch is being computed, one waits, one is being read: more would only take memory, since one
# thread reads them in turn.
AHEAD = 2


def prefetched(items: Iterable[T], ahead: int = AHEAD) -> Iterator[T]:
    """Yield the same items in the same order, drawing up to ``ahead`` of them early in a thread.

    Decoding a batch (decompression, standardising, pinning) leaves Python's lock free for most of
    its time. What drawing an item raises is raised where the item would have come.
    """
    source = iter(items)
    end = object()
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[T]] = deque(pool.submit(next, source, end) for _ in range(ahead))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, source, end))
            yield item
