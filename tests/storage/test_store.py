from __future__ import annotations

import json
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet
import pytest

from musicrec.schema import SchemaError
from musicrec.storage import s3
from musicrec.storage.parquet import parquet_bytes
from musicrec.storage.store import (
    SUCCESS,
    Store,
    fingerprint,
    resolve,
    write_atomically,
)
from musicrec.storage.uri import StoreError, absolute

CONTRACT = pa.schema(
    [pa.field("track_id", pa.string(), nullable=False), pa.field("year", pa.int32())]
)
# Above pyarrow's buffer for one request, so that an S3 upload takes several parts.
LARGE = 12 * 2**20


@pytest.fixture
def store(store_root: str) -> Store:
    return Store(store_root)


def test_written_bytes_are_read_back(store: Store) -> None:
    assert not store.exists("stage/key/a.bin")
    store.write("stage/key/a.bin", b"one")
    store.write("stage/key/a.bin", b"two")
    assert store.exists("stage/key/a.bin")
    assert store.read("stage/key/a.bin") == b"two"


def test_a_large_file_is_written_whole(store: Store) -> None:
    content = os.urandom(LARGE)
    store.write("large", content)
    assert store.read("large") == content


def test_names_are_the_files_of_one_folder_sorted(store: Store) -> None:
    for name in ("f/b", "f/a", "f/deeper/c", "other/d"):
        store.write(name, b"x")
    assert store.names("f") == ["a", "b"]
    assert store.names("none") == []


def test_json_round_trip(store: Store) -> None:
    store.write_json("a.json", {"rows": 3, "nested": {"list": [1, 2]}, "path": Path("x")})
    assert store.read_json("a.json") == {"rows": 3, "nested": {"list": [1, 2]}, "path": "x"}


def test_a_missing_file_is_an_error(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        store.read("none")


def test_tables_are_checked_at_writing_and_at_reading(store: Store) -> None:
    table = pa.table(
        {"year": pa.array([1791, None], pa.int64()), "track_id": ["a", "b"], "extra": [1, 2]}
    )
    store.write_table("t.parquet", table, CONTRACT)
    read = store.read_table("t.parquet", CONTRACT)
    assert read.schema == CONTRACT
    assert read.to_pydict() == {"track_id": ["a", "b"], "year": [1791, None]}
    assert store.read_table("t.parquet", CONTRACT, columns=["year"]).column_names == ["year"]
    with pytest.raises(SchemaError, match=r"'bad\.parquet'.*'track_id'"):
        store.write_table("bad.parquet", pa.table({"year": [1]}), CONTRACT)
    assert not store.exists("bad.parquet")
    with pytest.raises(SchemaError, match="'title'"):
        store.read_table("t.parquet", pa.schema([pa.field("title", pa.string(), nullable=False)]))


def test_a_folder_named_like_a_partition_adds_no_column(store: Store) -> None:
    store.write_table("year=3/t.parquet", pa.table({"track_id": ["a"]}), CONTRACT)
    assert store.read_table("year=3/t.parquet", CONTRACT).to_pydict() == {
        "track_id": ["a"],
        "year": [None],
    }


def test_create_keeps_an_existing_file(store: Store) -> None:
    assert store.create("plans/0", b"first")
    assert not store.create("plans/0", b"second")
    assert store.read("plans/0") == b"first"


def test_one_of_many_concurrent_creators_succeeds(store: Store) -> None:
    contents = [f"driver {number}".encode() for number in range(12)]
    with ThreadPoolExecutor(len(contents)) as pool:
        created = list(pool.map(lambda content: store.create("plans/0", content), contents))
    assert sum(created) == 1
    assert store.read("plans/0") == contents[created.index(True)]
    assert store.names("plans") == ["0"]


def test_a_stage_with_a_record_is_complete(store: Store) -> None:
    stage = store.stage("extract", "abc")
    store.write(stage.path("index.parquet"), b"x")
    assert stage.success() is None
    record = {"rows_in": 2, "rows_out": 1, "rows_in_errors": 1}
    assert stage.finish(record) == record
    assert stage.success() == record
    assert store.names("extract/abc") == [SUCCESS, "index.parquet"]
    assert store.stage("extract", "abd").success() is None


def test_is_local(tmp_path: Path, s3_server) -> None:
    assert Store(str(tmp_path)).is_local
    assert Store(tmp_path.as_uri()).is_local
    assert not Store(s3_server.fresh()).is_local


def test_wrong_keys_are_refused(s3_server, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(s3_server.fresh())
    store.write("a", b"x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    s3.filesystem_of.cache_clear()  # credentials are read when a file system is made
    try:
        with pytest.raises(OSError, match=r"ACCESS_DENIED|SignatureDoesNotMatch|403"):
            store.read("a")
    finally:
        s3.filesystem_of.cache_clear()


def test_writing_creates_no_bucket(s3_server) -> None:
    with pytest.raises(OSError, match="not-there"):
        Store("s3://not-there/x").write("a", b"x")


def _write_over_and_over(path: str, letter: bytes, times: int) -> None:
    filesystem = pa.fs.LocalFileSystem()
    for _ in range(times):
        write_atomically(filesystem, path, letter * LARGE)


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    _write_over_and_over(str(path), b"-", 1)
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=_write_over_and_over, args=(str(path), letter, 8))
        for letter in (b"x", b"y")
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        content = path.read_bytes()
        assert len(content) == LARGE
        assert content.count(content[:1]) == LARGE
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        store.write("taken", b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


def test_leftovers_of_a_killed_writer_are_not_listed(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write("f/a", b"x")
    (tmp_path / "f" / ".b.0123").write_bytes(b"half")
    assert store.names("f") == ["a"]


def test_a_local_root_means_the_same_in_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store("here")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    store.write("a", b"x")
    assert (tmp_path / "here" / "a").read_bytes() == b"x"
    assert store.uri("a") == str(tmp_path / "here" / "a")
    assert absolute("s3://bucket/x/") == "s3://bucket/x"


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(StoreError, match=r"'gopher://x/y'.*s3://bucket/prefix"):
        resolve("gopher://x/y")


def test_a_fingerprint_depends_on_values_only() -> None:
    assert fingerprint({"b": 1, "a": (1, 2)}) == fingerprint({"a": [1, 2], "b": 1})
    assert len({fingerprint(value) for value in (0, 1, "1", None, [1], {"1": 1}, 1.5)}) == 7
    assert fingerprint("a", "b") != fingerprint("ab")
    # Users' stores have keys of finished stages: the same values must give the same key in every
    # process and release.
    assert fingerprint("musicrec", 1) == "5518a4106e99691e"


def test_parquet_is_written_without_dictionaries(tmp_path: Path) -> None:
    table = pa.table(
        {"track_id": ["a"] * 20, "cell": pa.array([b"x" * 10] * 20, pa.large_binary())}
    )
    metadata = pa.parquet.read_metadata(
        pa.BufferReader(parquet_bytes(table, row_group_size=8, statistics=["track_id"]))
    )
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [
        8,
        8,
        4,
    ]
    columns = [metadata.row_group(0).column(index) for index in range(2)]
    assert all(
        not column.has_dictionary_page and column.compression == "ZSTD" for column in columns
    )
    assert [column.is_stats_set for column in columns] == [True, False]


def test_records_are_readable_by_people(tmp_path: Path) -> None:
    Store(str(tmp_path)).write_json("a.json", {"b": 1, "a": 2})
    assert list(json.loads((tmp_path / "a.json").read_text())) == ["a", "b", "sha256"]
    assert (tmp_path / "a.json").read_text().count("\n") == 4
