from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from musicrec.training.prefetch import prefetched


def test_the_same_items_in_their_order() -> None:
    assert list(prefetched(iter(range(20)))) == list(range(20))
    assert list(prefetched([])) == []


@pytest.mark.timeout(20)
def test_an_item_is_drawn_before_it_is_asked_for_but_not_many() -> None:
    drawn: list[int] = []
    second = threading.Event()

    def source() -> Iterator[int]:
        for number in range(100):
            drawn.append(number)
            if number == 1:
                second.set()
            yield number

    items = prefetched(source(), ahead=2)
    assert next(items) == 0
    assert second.wait(10)  # without anybody asking for it
    assert next(items) == 1
    items.close()
    assert len(drawn) <= 4


def test_what_drawing_raises_comes_in_its_place() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("the part is gone")

    items = prefetched(source())
    assert next(items) == 1
    with pytest.raises(OSError, match="the part is gone"):
        next(items)
