"""A row whose reading hangs does not block its process for ever, whatever it hangs in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Each hangs: the first lets other threads run, the second (a regular expression that tries 2^60
# ways) holds Python's lock.
WAITS = "threading.Event().wait()"
LOOPS = "re.fullmatch('(a+)+b', 60 * 'a')"
PROGRAM = """
import re, threading
import pyarrow as pa
from musicrec.extraction import isolation
isolation.SECONDS_TO_GIVE_UP = 0.5
rows = pa.table({{"block": ["0"], "item": ["a"], "uri": ["a.mp3"], "columns": [[]]}})
print("began", flush=True)
print("outcome", isolation.{function}(rows, lambda row: {hang}, 0.5), flush=True)
"""


def run(function: str, hang: str) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(function=function, hang=hang)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )


@pytest.mark.parametrize(
    ("function", "hang"), [("read_bounded", WAITS), ("read_bounded", LOOPS), ("read_alone", LOOPS)]
)
def test_the_process_ends_with_a_traceback(function: str, hang: str) -> None:
    done = run(function, hang)
    assert done.returncode == 1
    assert done.stdout == "began\n"
    assert "Timeout" in done.stderr
    assert "in <lambda>" in done.stderr


def test_a_row_read_in_a_process_of_its_own_is_given_up() -> None:
    done = run("read_alone", WAITS)
    assert (done.returncode, done.stdout) == (0, "began\noutcome None\n")
