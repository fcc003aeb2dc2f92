"""The streams, locale and storage of a job's process: one line, and the code a scheduler needs."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from musicrec.config.errors import ConfigError, UserError
from musicrec.config.load import preset
from musicrec.runtime.cluster import _check_temporary_folder
from musicrec.storage.store import resolve

ROOT = Path(__file__).parents[2]


def job(work: str, redirection: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a job of one statement in a process of its own, through bash."""
    program = f"""
import sys
from musicrec.runtime.job import run_job
def work(config):
    from musicrec.storage.store import Store
    {work}
run_job("A job.", work, [])
"""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", f'"$0" -c "$1" {redirection}', sys.executable, program],
        capture_output=True,
        timeout=120,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def test_a_job_whose_reader_ends_is_done(tmp_path: Path) -> None:
    done = job(
        f"[print(i) for i in range(100_000)]; open('{tmp_path}/end', 'w').close()", "| head -1"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"0\n", b"")
    assert (tmp_path / "end").exists()


def test_a_job_with_closed_streams_writes_only_its_files(tmp_path: Path) -> None:
    done = job(f"s = Store('{tmp_path}'); print('lost'); s.write('a', b'kept')", "<&- >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (tmp_path / "a").read_bytes() == b"kept"


def test_the_c_locale_reads_names_that_are_not_ascii(tmp_path: Path) -> None:
    (tmp_path / "café").mkdir()
    done = job(
        f"print(Store('{tmp_path}/caf\\xe9').exists(''), 'caf\\xe9')",
        LC_ALL="C",
        PYTHONCOERCECLOCALE="0",
        PYTHONUTF8="0",
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.splitlines()[0].decode() == "True café"


def test_a_full_disk_is_one_line_and_worth_a_retry(tmp_path: Path) -> None:
    # The limit of a file's size fails a write as a full disk does, without a file system to fill.
    limit = resource.RLIMIT_FSIZE
    done = job(
        f"import resource; resource.setrlimit({limit}, (1000, 1000)); "
        f"Store('{tmp_path}').write('a', bytes(2000))"
    )
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("error: [Errno 27] File too large")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uri", ["gs2://b/c", "file://elsewhere/x", "http://127.0.0.1/x"])
def test_an_unusable_location_exits_with_2(uri: str) -> None:
    done = job(f"Store('{uri}').exists('')")
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"error: '{uri}' is not a usable location")


def test_a_preset_at_an_unusable_location_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"^--preset gs2://b/c\.yaml: .* not a usable location"):
        preset("gs2://b/c.yaml")


def test_googles_client_retries_for_less_than_a_minute() -> None:
    filesystem, path = resolve("gs://anonymous@bucket/x")
    assert path == "bucket/x"
    (options,) = filesystem.__reduce__()[1]
    assert 2 * options["retry_time_limit"].total_seconds() < 60


def test_a_temporary_folder_too_long_for_sockets_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", f"{tempfile.gettempdir()}/" + "x" * 100)
    with pytest.raises(UserError, match=r"^TMPDIR is /tmp/x+, .* set RAY_TMPDIR to a shorter"):
        _check_temporary_folder()
    monkeypatch.setenv("RAY_TMPDIR", tempfile.gettempdir())
    _check_temporary_folder()


def unreachable() -> str:
    """A bucket whose server refuses connections, with a shorter time limit than a job's own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{free.getsockname()[1]}"
    query = f"endpoint_override={server}&scheme=http&retry_limit_seconds=1"
    return f"gs://anonymous@bucket/x?{query}"


def test_a_store_that_cannot_be_reached_is_one_line_and_worth_a_retry() -> None:
    done = job(f"Store('{unreachable()}').exists('a')")
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("error: the storage failed: ")
    assert line.endswith("A retry is safe")


def test_a_job_that_waits_for_a_store_takes_sigterm() -> None:
    kill = "import os, signal, threading; pid = os.getpid()"
    later = "threading.Timer(0.3, os.kill, (pid, signal.SIGTERM)).start()"
    done = job(f"{kill}; {later}; Store('{unreachable()}').exists('a')")
    assert done.returncode == 128 + signal.SIGTERM
    assert b"Traceback" not in done.stderr


def test_a_damaged_object_is_one_line_and_its_job_can_be_run_again(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    done = job(f"Store('{tmp_path}').read_json('a.json')")
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"error: {tmp_path}/a.json is damaged: ")
    assert line.endswith("Start the job that wrote it again: only this is made anew")
