"""Messages about an unusable object storage, and use of one whose requests fail now and then."""

from __future__ import annotations

import pickle
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pytest
from faulty_s3 import FAULTS, FaultyS3
from small_run import run_job_process

from musicrec.storage import s3
from musicrec.storage.store import Store, resolve

OPERATIONS = 40
KEY_NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
FAILING_FRACTION = 0.05


@pytest.fixture
def fresh_session(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """boto3 keeps the credentials that it found first."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return monkeypatch


def test_a_usable_storage_has_no_problems_and_no_leftovers(s3_server: Any) -> None:
    store = Store(s3_server.fresh())
    store.write("a", b"x")
    assert s3.access_problems(store.root, write=True) == []
    assert store.names("") == ["a"]


def test_a_missing_bucket_is_one_line(s3_server: Any) -> None:
    (line,) = s3.access_problems("s3://not-there/store", write=True)
    assert line.startswith(
        f"s3://not-there/store: there is no bucket 'not-there' at {s3_server.endpoint}: create it"
    )


def test_each_missing_right_is_a_line(s3_server: Any, fresh_session: pytest.MonkeyPatch) -> None:
    root = s3_server.fresh()
    fresh_session.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    lines = s3.access_problems(root, write=True)
    assert [line.partition(" (")[0] for line in lines] == [
        f"{root}: these S3 credentials may not {right} there"
        for right in ("list and read", "write and delete")
    ]


def test_missing_credentials_are_one_line(
    s3_server: Any, fresh_session: pytest.MonkeyPatch
) -> None:
    for name in KEY_NAMES:
        fresh_session.delenv(name)
    root = s3_server.fresh()
    assert s3.access_problems(root, write=True) == [
        f"{root}: there are no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
        "AWS_PROFILE, or give a role"
    ]


def test_a_key_that_may_only_read(s3_server: Any, fresh_session: pytest.MonkeyPatch) -> None:
    root = s3_server.fresh()
    Store(root).write("a", b"x")
    for name, value in zip(KEY_NAMES, s3_server.reader, strict=True):
        fresh_session.setenv(name, value)
    assert s3.access_problems(root, write=False) == []
    (line,) = s3.access_problems(root, write=True)
    assert line.startswith(
        f"{root}: these S3 credentials may not write and delete there (AccessDenied)"
    )


def test_a_job_fails_before_it_starts_anything(s3_server: Any, tmp_path: Path) -> None:
    ended = run_job_process(
        "retrain",
        "--store",
        "s3://not-there/store",
        "--catalog",
        "s3://nor-this/catalog",
        timeout=120,
        RAY_TMPDIR=str(tmp_path),
    )
    assert ended.returncode == 2
    lines = ended.stderr.splitlines()
    assert lines[0] == "error: the object storage cannot be used:"
    assert [line.split("s3:")[1][:24] for line in lines[1:]] == [
        "//not-there/store: there",
        "//nor-this/catalog: ther",
    ]
    assert list(tmp_path.iterdir()) == []


def test_every_operation_succeeds_on_a_failing_storage(
    s3_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, table = (
        FaultyS3(s3_server.endpoint, FAILING_FRACTION),
        pa.table({"a": [1, 2], "b": ["x", "y"]}),
    )
    with storage.running() as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        store = Store(s3_server.fresh())

        def use(number: int) -> Counter[str]:
            content = bytes([number]) * 50_000
            store.write(f"many/{number}", content)
            assert store.read(f"many/{number}") == content
            assert store.exists(f"many/{number}")
            assert not store.exists(f"none/{number}")
            store.write_table(
                f"tables/{number}", table, table.schema
            )  # its chunks are shorter than the error responses
            assert store.read_table(f"tables/{number}", table.schema).equals(table)
            store.remove(f"many/{number}")
            return Counter(created=store.create(f"created/{number % 4}", content))

        with ThreadPoolExecutor(4) as pool:
            created = sum(pool.map(use, range(OPERATIONS)), Counter())
        assert created == {"created": 4}
        assert store.names("created") == ["0", "1", "2", "3"]
        assert store.names("many") == []
        assert s3.access_problems(store.root, write=True) == []
    assert set(storage.faults) == set(FAULTS)


def test_a_conditional_write_with_a_lost_response_is_ours(
    s3_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = FaultyS3(s3_server.endpoint, share=0.0)
    with storage.running() as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        store = Store(s3_server.fresh())
        storage.next = ["lost answer"]
        assert store.create("plans/0", b"mine")
        storage.next = ["lost answer"]
        assert not store.create("plans/0", b"another's")
        assert store.read("plans/0") == b"mine"


def test_a_copy_in_another_process_retries_too(s3_server: Any) -> None:
    filesystem, _ = resolve(s3_server.fresh())
    assert pickle.loads(pickle.dumps(filesystem)) is filesystem


def test_a_short_read_with_a_long_error_response_is_retried(
    s3_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = FaultyS3(s3_server.endpoint, share=0.0)
    with storage.running() as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        store = Store(s3_server.fresh())
        store.write("short", b"0123456789")
        storage.next = ["", "503", "500", "503"]  # the first request asks for the object's size
        assert store.read("short") == b"0123456789"
        assert sum(storage.faults.values()) + len(storage.next) == 0
        filesystem, path = store.locate("short")
        with filesystem.open_input_file(path) as stream:
            stream.seek(3)
            storage.next = ["503"]
            assert stream.read(4) == b"3456"
            assert (stream.tell(), stream.size()) == (7, 10)
