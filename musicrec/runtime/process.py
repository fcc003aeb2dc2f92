"""Prepare a job's process: standard streams that cannot fail it, and paths as UTF-8."""

from __future__ import annotations

import io
import os
import sys


def prepare() -> None:
    """Make the standard streams safe to write to, and names of files UTF-8.

    Called first, before any file is opened: with a closed stdout, the next opened file would get
    its number, and everything printed would go there. A process without UTF-8 names of files (the
    C locale with PYTHONUTF8=0) is replaced by one that has them.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    if sys.getfilesystemencoding() != "utf-8" and sys.orig_argv:
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):  # not replaced by a capture
            setattr(sys, name, _stream(number, stream))


def _stream(number: int, stream: io.TextIOWrapper | None) -> io.TextIOWrapper:
    """Return a stream that writes what its encoding lacks as escapes, and outlives its reader."""
    if stream is not None:
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(number, "w", closefd=False)),
        encoding=stream.encoding if stream is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=number == 2 or (stream is not None and stream.line_buffering),
        write_through=stream is not None and stream.write_through,
    )


class _Output(io.FileIO):
    """A descriptor whose reader may end, as that of ``| head`` does: the rest is discarded."""

    def write(self, content: bytes) -> int:
        try:
            return super().write(content)
        except BrokenPipeError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return len(content)
