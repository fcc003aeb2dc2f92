"""Files with any name are the same files by path, by URI, and under a root given as a URI."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from musicrec.catalog.locations import audio_uri, audio_uris
from musicrec.catalog.tables import CatalogError
from musicrec.catalog.validate import load_validated
from musicrec.catalog.versions import MISSING, file_versions
from musicrec.serving.folder import of_folder
from musicrec.serving.request import RequestError, admitted
from musicrec.storage.store import resolve
from musicrec.storage.uri import absolute

NAMES = (
    *("with space", "hash#1", "percent%20x", "100%", "quest?ion", "ünïcode", "plus+and&", "plain"),
)


def exists(uri: str) -> bool:
    filesystem, path = resolve(uri)
    return filesystem.get_file_info(path).is_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose own name needs encoding, with a file for each name."""
    audio = tmp_path / "root dir %41 ü#" / "audio"
    audio.mkdir(parents=True)
    for name in NAMES:
        (audio / f"{name}.mp3").write_bytes(b"x")
    return audio.parent


def write(folder: Path, values: list[str]) -> None:
    rows = [f't{i},a{i},"{value}"\n' for i, value in enumerate(values)]
    (folder / "tracks.csv").write_text("track_id,artist_id,audio\n" + "".join(rows))
    related = [f"a{i},a{(i + 1) % len(values)},1\n" for i in range(len(values))]
    (folder / "related.csv").write_text("artist_id,related_artist_id,rank\n" + "".join(related))


@pytest.mark.parametrize("root_as", ["path", "uri", "uri with localhost"])
@pytest.mark.parametrize("values_as", ["relative", "path", "uri"])
def test_every_file_of_a_catalog_is_found(folder: Path, root_as: str, values_as: str) -> None:
    files = [folder / "audio" / f"{name}.mp3" for name in NAMES]
    write(
        folder,
        {
            "relative": [f"audio/{name}.mp3" for name in NAMES],
            "path": [str(file) for file in files],
            "uri": [file.as_uri() for file in files],
        }[values_as],
    )
    root = {
        "path": str(folder),
        "uri": folder.as_uri(),
        "uri with localhost": folder.as_uri().replace("file://", "file://localhost"),
    }[root_as]
    catalog, problems = load_validated(root, resolve(root), seed=0, exists=exists)
    assert [problem.rule for problem in problems] == ["missing table"]  # artists
    uris = audio_uris(root, catalog.tracks.column("audio"))
    assert uris.to_pylist() == [str(file) for file in files]
    assert MISSING not in file_versions(uris, root).to_pylist()


def test_a_uri_of_another_machine_is_an_error_of_its_row(folder: Path) -> None:
    good = (folder / "audio" / "plain.mp3").as_uri()
    write(folder, [good, "file://nas/a.mp3", good, "file:///a%FC.mp3"])
    with pytest.raises(CatalogError) as caught:
        load_validated(str(folder), resolve(str(folder)), seed=0, exists=exists)
    errors = [problem for problem in caught.value.problems if problem.severity == "error"]
    assert [(problem.row, problem.rule) for problem in errors] == [
        (2, "not a usable location"),
        (4, "not a usable location"),
    ]
    assert "it names the machine 'nas'" in errors[0].fix
    assert "not UTF-8" in errors[1].fix
    assert audio_uri(str(folder), "file://nas/a.mp3") == "file://nas/a.mp3"


def test_an_allowed_root_may_be_a_uri(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other dir"
    other.mkdir()
    (other / "a.mp3").write_bytes(b"x")
    write(folder, [(other / "a.mp3").as_uri(), str(other / "a.mp3"), "audio/plain.mp3"])
    for allowed in (other.as_uri(), str(other)):
        _, problems = load_validated(
            str(folder), resolve(str(folder)), seed=0, exists=exists, allowed_roots=[allowed]
        )
        assert [problem.rule for problem in problems] == ["missing table"]
    with pytest.raises(CatalogError, match="outside the catalog's root"):
        load_validated(str(folder), resolve(str(folder)), seed=0)


def test_an_encoded_parent_leaves_the_root(folder: Path) -> None:
    write(folder, [f"{folder.as_uri()}/%2e%2e/a.mp3", "audio/plain.mp3", "audio/100%.mp3"])
    with pytest.raises(CatalogError, match=r"tracks row 1, audio .*outside the catalog's root"):
        load_validated(str(folder), resolve(str(folder)), seed=0)


def test_the_files_of_a_folder_given_as_a_uri(folder: Path) -> None:
    queries, left_out = of_folder(absolute(folder.as_uri()))
    assert queries.column("uri").to_pylist() == sorted(
        str(folder / "audio" / f"{name}.mp3") for name in NAMES
    )
    assert not left_out


@pytest.mark.parametrize("name", NAMES)
def test_a_served_uri_names_the_same_file(folder: Path, name: str) -> None:
    file = folder / "audio" / f"{name}.mp3"
    for root in (str(folder), folder.as_uri()):
        assert admitted("audio_uri", file.as_uri(), [root]) == str(file)
        assert admitted("audio_uri", str(file), [root]) == str(file)
    with pytest.raises(RequestError, match="not under a location"):
        admitted("audio_uri", f"{folder.as_uri()}/%2e%2e/x.mp3", [folder.as_uri()])


def test_a_column_of_file_uris_has_the_uris_of_its_values() -> None:
    values = ["file:/a%20b", "FILE:///a%20b", "file://localhost/a#b", "file://nas/x", "file://~/x"]
    values += ["a%20b", "file:a", "/a/../b c", "s3://b/a%20b"]
    for root in ("/r", "file:///r%20r", "s3://b/p"):
        expected = [audio_uri(root, value) for value in values]
        assert audio_uris(root, pa.chunked_array([values])).to_pylist() == expected
    assert expected[:4] == ["/a b", "/a b", "/a#b", "file://nas/x"]
    assert expected[5:] == ["s3://b/p/a%20b", "s3://b/p/file:a", "/b c", "s3://b/a%20b"]
