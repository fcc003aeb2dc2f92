"""A path or URI that enters becomes a local path in one way; the right values are pathlib's."""

from __future__ import annotations

from pathlib import Path

import pytest

from musicrec.storage.store import Store, resolve
from musicrec.storage.uri import StoreError, absolute, local_path

NAMES = (
    *("with space", "hash#1", "percent%20x", "100%", "quest?ion", "ünïcode", "plus+and&", "plain"),
    *("日本", "a;b=c", "quote'\"", "c://d"),
)


@pytest.mark.parametrize("name", NAMES)
def test_the_uri_of_a_path_is_that_path(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    assert local_path(path.as_uri()) == str(path)
    assert absolute(path.as_uri().replace("file:///", "file://localhost/")) == str(path)
    assert absolute(path.as_uri().replace("file:///", "FILE:/")) == str(path)


@pytest.mark.parametrize("name", NAMES[:-1])
def test_a_path_is_taken_literally(name: str, tmp_path: Path) -> None:
    assert absolute(str(tmp_path / name)) == str(tmp_path / name)


def test_relative_paths_and_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert absolute("a b/c%20d") == f"{tmp_path}/a b/c%20d"
    assert absolute("~/music") == absolute("file://~/music") == "/home/me/music"
    assert absolute("~nobody-of-this-name/x") == f"{tmp_path}/~nobody-of-this-name/x"
    assert absolute("/a/../b/") == "/a/../b"


@pytest.mark.parametrize("uri", ["file:///a b/ü#1?x/100%", "file:/a b/ü#1?x/100%"])
def test_a_uri_that_is_not_encoded_is_read_as_written(uri: str) -> None:
    assert absolute(uri) == "/a b/ü#1?x/100%"


@pytest.mark.parametrize("uri", ["s3://bucket/a%20b/c#1", "gs://b/a b", "http://h/a?b=c"])
def test_other_uris_stay(uri: str) -> None:
    assert local_path(uri) is None
    assert absolute(uri) == uri


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("file://nas/music", "it names the machine 'nas'; write .* file:///folder/name"),
        ("file://music", "it names the machine 'music'"),
        ("file://", "it has no path"),
        ("file:///a%FCb", "its percent-encoding is not UTF-8"),
        ("file:///a%00b", "NUL"),
        ("a\0b", "NUL"),
    ],
)
def test_a_uri_that_is_no_path_of_this_machine_is_named(uri: str, reason: str) -> None:
    with pytest.raises(StoreError, match=f"is not a usable location: .*{reason}"):
        resolve(uri)


@pytest.mark.parametrize("name", NAMES[:-1])
def test_a_store_is_the_same_by_its_path_and_by_its_uri(name: str, tmp_path: Path) -> None:
    Store((tmp_path / name).as_uri()).write("stage/a b%20.txt", b"x")
    store = Store(str(tmp_path / name))
    assert store.read("stage/a b%20.txt") == b"x"
    assert store.names("stage") == ["a b%20.txt"]
    assert Store((tmp_path / name).as_uri()) == store
