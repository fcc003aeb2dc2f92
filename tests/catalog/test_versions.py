from __future__ import annotations

import pyarrow as pa
import pytest

from musicrec.catalog.versions import LISTED_FROM, MISSING, file_versions
from musicrec.storage.store import resolve, write_atomically
from musicrec.storage.uri import StoreError

MANY = LISTED_FROM + 1


def write(root: str, *names: str, content: bytes = b"a") -> None:
    filesystem, base = resolve(root)
    for name in names:
        write_atomically(filesystem, f"{base}/{name}", content)


def versions(root: str, *names: str) -> dict[str, str | None]:
    uris = pa.chunked_array(
        [[name if "://" in name else f"{root}/{name}" for name in names]], pa.string()
    )
    return dict(zip(names, file_versions(uris, root).to_pylist(), strict=True))


def test_a_version_differs_after_each_change_in_any_folder(store_root: str) -> None:
    """Change files in each kind of folder.

    These are a folder of many, folders of few below one, one file next to the tables, and one in a
    folder of its own.
    """
    many = [f"audio/{number}.mp3" for number in range(MANY)]
    few = [f"artists/{number}/song.mp3" for number in range(MANY)]
    others = ["song.mp3", "deep/er/song.mp3"]
    write(store_root, *many, *few, *others)
    before = versions(
        store_root, *many, *few, *others, "audio/none.mp3", "artists/3/none.mp3", "none.mp3"
    )
    absent = {name for name, version in before.items() if version == MISSING}
    assert absent == {"audio/none.mp3", "artists/3/none.mp3", "none.mp3"}
    assert None not in before.values()
    changed = {many[3], few[5], *others}
    write(store_root, *changed, content=b"other")
    after = versions(store_root, *before)
    assert {name for name in before if before[name] != after[name]} == changed


def test_storage_without_versions_gives_null(tmp_path) -> None:
    write(str(tmp_path), "a.mp3")
    by_uri = versions(str(tmp_path), "http://127.0.0.1/a.mp3", "a.mp3", "http://127.0.0.1/b.mp3")
    assert [version is None for version in by_uri.values()] == [True, False, True]


def test_the_same_file_twice_and_none_at_all(tmp_path) -> None:
    write(str(tmp_path), "a.mp3")
    uris = pa.chunked_array([[f"{tmp_path}/a.mp3"], [f"{tmp_path}/a.mp3"]])
    one, other = file_versions(uris, str(tmp_path)).to_pylist()
    assert one == other
    assert file_versions(pa.chunked_array([], pa.string()), str(tmp_path)).to_pylist() == []


def test_a_folder_that_cannot_be_listed_is_named(tmp_path) -> None:
    (tmp_path / "audio").write_bytes(b"a file where a folder should be")
    names = [f"audio/{number}.mp3" for number in range(MANY)]
    with pytest.raises(
        StoreError, match=r"audio/ cannot be listed: .* or set extract\.notice_changes to false"
    ):
        versions(str(tmp_path), *names)
