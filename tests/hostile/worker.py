"""A process that reads hostile inputs by their numbers, one after the other, and says of each what became of it."""

from __future__ import annotations

import re
import tempfile
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from hostile_inputs import hostile_input
from reading import read

_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")


@dataclass(frozen=True)
class Outcome:
    """``reason``: as ``Reading.outcome``; ``failure``: what is wrong with how it was read, empty where nothing is.

    ``peak_bytes``: the largest resident memory of the process while it read this input.
    """

    number: int
    form: str
    kind: str
    bytes: int
    reason: str = ""
    failure: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0


def serve(connection: Connection) -> None:
    """Answer numbers by outcomes until the other side hangs up. The first answer says that the process is ready."""
    from musicrec.features.columns import compile_kernels

    compile_kernels()
    connection.send(None)
    with tempfile.TemporaryDirectory() as folder:
        while True:
            try:
                number = connection.recv()
            except EOFError:
                return
            connection.send(_outcome(number, Path(folder)))


def _outcome(number: int, folder: Path) -> Outcome:
    hostile = hostile_input(number)
    facts = {
        "number": number,
        "form": hostile.form,
        "kind": hostile.kind,
        "bytes": len(hostile.content),
    }
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
    started = time.monotonic()
    reason = failure = ""
    try:
        reason = read(hostile, folder).outcome
    except Exception:  # noqa: BLE001 - whatever it is, it is a finding
        failure = traceback.format_exc(limit=-6)
    seconds = time.monotonic() - started
    (peak,) = _PEAK.findall(Path("/proc/self/status").read_text())
    return Outcome(
        **facts, reason=reason, failure=failure, seconds=seconds, peak_bytes=int(peak) * 1024
    )
