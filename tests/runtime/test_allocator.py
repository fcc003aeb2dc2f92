"""A job's process has one heap: for glibc, whatever its threads, and for Arrow."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from musicrec.runtime.allocator import ARROW_POOL

pytestmark = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc alone has a heap for each thread"
)

HEAPS_OF_THREADS = """
import ctypes, sys, threading
libc = ctypes.CDLL(None)
libc.fopen.restype = libc.malloc.restype = ctypes.c_void_p
libc.malloc_info.argtypes = (ctypes.c_int, ctypes.c_void_p)
libc.fclose.argtypes = (ctypes.c_void_p,)
if sys.argv[2:]:
    from musicrec.runtime.allocator import use_one_arena
    use_one_arena()
together = threading.Barrier(8)
def allocate():
    together.wait()
    libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = libc.fopen(sys.argv[1].encode(), b"w")
libc.malloc_info(0, file)
libc.fclose(file)
"""
POOL_OF_A_JOB = """
import os
from musicrec.runtime.job import run_job
def work(config):
    import pyarrow
    print(pyarrow.default_memory_pool().backend_name, os.environ.get("ARROW_DEFAULT_MEMORY_POOL"))
run_job("A job.", work, ["--catalog", "nowhere"])
"""


def run(script: str, *arguments: str, **variables: str) -> str:
    environment = {
        name: value for name, value in os.environ.items() if name != ARROW_POOL
    } | variables
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(
        command,
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("one", [True, False])
def test_threads_share_one_heap(one: bool, tmp_path: Path) -> None:
    run(HEAPS_OF_THREADS, str(tmp_path / "heaps.xml"), *["one"] * one)
    heaps = (tmp_path / "heaps.xml").read_text().count("<heap nr=")
    assert (heaps == 1) == one


def test_a_job_has_arrow_in_the_same_heap_and_its_workers_have_not() -> None:
    assert run(POOL_OF_A_JOB).split()[:2] == ["system", "None"]


def test_a_users_choice_of_arrows_pool_stands() -> None:
    assert run(POOL_OF_A_JOB, **{ARROW_POOL: "mimalloc"}).split()[:2] == ["mimalloc", "mimalloc"]
