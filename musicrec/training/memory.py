"""What a process has taken of a machine's memory."""

from __future__ import annotations

import resource
import sys


def peak_mebibytes() -> float:
    """Return the largest resident memory of this process so far, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
