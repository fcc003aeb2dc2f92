"""One heap for all threads of a process that lives as long as its job."""

from __future__ import annotations

import ctypes
import os

# The number by which mallopt knows how many arenas there are at most (malloc.h of glibc).
M_ARENA_MAX = -8
ARROW_POOL = "ARROW_DEFAULT_MEMORY_POOL"


def use_one_arena() -> None:
    """Let all threads of this process take their memory from one place, and Arrow's C++ with them. Called before pyarrow is imported.

    glibc gives each thread an arena of its own, and Arrow's mimalloc a heap, whose free pieces no other thread uses. Ray Data's threads
    come and go, so a driver with a million rows planned grows by .15 MB a second into whatever planning left free, and by nothing with one
    heap; what planning takes at most is less as well (.90 GB for 1.06).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # glibc alone has arenas
        return
    mallopt(M_ARENA_MAX, 1)
    if ARROW_POOL in os.environ:  # a user's choice stands
        return
    os.environ[ARROW_POOL] = "system"
    import pyarrow  # noqa: F401  # it reads the variable as it is loaded

    del os.environ[ARROW_POOL]  # workers keep their own, as on the other machines of a cluster
