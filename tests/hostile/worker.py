"""Serve hostile inputs by number in a process of its own, and report each outcome."""

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
    """The outcome of reading an input.

    Attributes
    ----------
    reason
        As ``Reading.outcome``.
    failure
        A fault of the reader, empty if there is none.
    peak_bytes
        Largest resident memory of the process while it read this input.
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
    """Answer numbers with outcomes until the connection closes.

    The first answer says that the process is ready.
    """
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
    properties = {
        "number": number,
        "form": hostile.form,
        "kind": hostile.kind,
        "bytes": len(hostile.content),
    }
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    started = time.monotonic()
    reason = failure = ""
    try:
        reason = read(hostile, folder).outcome
    except Exception:  # noqa: BLE001 - any exception is a finding
        failure = traceback.format_exc(limit=-6)
    seconds = time.monotonic() - started
    (peak,) = _PEAK.findall(Path("/proc/self/status").read_text())
    return Outcome(
        **properties, reason=reason, failure=failure, seconds=seconds, peak_bytes=int(peak) * 1024
    )
