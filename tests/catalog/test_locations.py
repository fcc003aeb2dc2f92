"""The URI of a catalog's file: of one value, and the same of a column."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from musicrec.catalog.locations import audio_uri, audio_uris

ROOTS = (
    "s3://bucket/catalog",
    "s3://bucket/./catalog/",
    "/data/catalog",
    "/",
    "file:///data/catalog",
    "~/catalog",
)
RELATIVE = (
    "a.mp3",
    "a b/ä.mp3",
    "a/.hidden",
    ".",
    "..",
    "../up.mp3",
    "a/../b.mp3",
    "a//b.mp3",
    "a/",
    "a:b.mp3",
    "~/a.mp3",
)
LOCAL = (
    "/abs/a.mp3",
    "/abs/../a.mp3",
    "/abs//a.mp3",
    "//abs",
    "/",
    "/abs/",
    "/abs/12:30.mp3",
    "file:///d/a.mp3",
    "file:///d/../a.mp3",
)
REMOTE = (
    "s3://other/a.mp3",
    "s3://other/./a.mp3",
    "s3://other//a.mp3",
    "s3://other/",
    "gs+x://b/c",
)
VALUES = [*RELATIVE, *LOCAL, *REMOTE]


@pytest.mark.parametrize(
    ("root", "value", "uri"),
    [
        ("s3://bucket/catalog", "clips/a.mp3", "s3://bucket/catalog/clips/a.mp3"),
        ("s3://bucket/catalog/", "clips/./a.mp3", "s3://bucket/catalog/clips/a.mp3"),
        ("s3://bucket/catalog", "clips//a.mp3", "s3://bucket/catalog/clips//a.mp3"),
        ("s3://bucket/catalog", "s3://other/a.mp3", "s3://other/a.mp3"),
        ("s3://bucket/catalog", "../secret/a.mp3", "s3://bucket/secret/a.mp3"),
        ("s3://bucket/catalog", "/data/a.mp3", "/data/a.mp3"),
        ("/data/catalog", "a b/ä.mp3", "/data/catalog/a b/ä.mp3"),
        ("file:///data/catalog", "a.mp3", "/data/catalog/a.mp3"),
        ("/data/catalog", "../../etc/passwd", "/etc/passwd"),
    ],
)
def test_audio_uri(root: str, value: str, uri: str) -> None:
    assert audio_uri(root, value) == uri


def test_audio_uri_of_a_relative_root_is_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert audio_uri("catalog", "a.mp3") == f"{tmp_path}/catalog/a.mp3"


@pytest.mark.parametrize("root", ROOTS)
def test_a_column_has_the_uris_of_its_values(root: str) -> None:
    column = pa.chunked_array([RELATIVE, [], LOCAL + REMOTE], pa.string())
    assert audio_uris(root, column).to_pylist() == [audio_uri(root, value) for value in VALUES]


@pytest.mark.parametrize("values", [[], ["a.mp3"], ["../a.mp3"]])
def test_a_column_of_one_kind_or_none(values: list[str]) -> None:
    uris = audio_uris("/data", pa.chunked_array([values], pa.string()))
    assert uris.to_pylist() == [audio_uri("/data", value) for value in values]
