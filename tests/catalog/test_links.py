"""No link leads a catalog out of its root, and none makes a walk endless."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import fs

from musicrec.catalog.links import LISTED_FROM, outside_by_link
from musicrec.catalog.tables import CatalogError
from musicrec.catalog.validate import load_validated
from musicrec.catalog.versions import MISSING, file_versions
from musicrec.serving.folder import left_out_sentence, of_folder
from musicrec.storage.store import resolve


def write(folder: Path, names: list[str]) -> None:
    rows = [f"t{i},a{i},{name}\n" for i, name in enumerate(names)]
    (folder / "tracks.csv").write_text("track_id,artist_id,audio\n" + "".join(rows))
    related = [f"a{i},a{(i + 1) % len(names)},1\n" for i in range(len(names))]
    (folder / "related.csv").write_text("artist_id,related_artist_id,rank\n" + "".join(related))


def load(folder: Path, *allowed: str) -> list[str]:
    root = str(folder)
    _, problems = load_validated(root, resolve(root), seed=0, allowed_roots=allowed)
    return [problem.rule for problem in problems]


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """A catalog with files, links within it, and links to a folder and a file outside."""
    folder, other = tmp_path / "catalog", tmp_path / "other"
    (folder / "audio").mkdir(parents=True)
    (other / "deep").mkdir(parents=True)
    for number in range(LISTED_FROM):
        (folder / "audio" / f"{number}.mp3").write_bytes(b"x")
    (other / "deep" / "a.mp3").write_bytes(b"x")
    (folder / "audio" / "inside.mp3").symlink_to("0.mp3")
    (folder / "audio" / "outside.mp3").symlink_to(other / "deep" / "a.mp3")
    (folder / "again").symlink_to("audio")
    (folder / "elsewhere").symlink_to(other)
    return folder


@pytest.mark.parametrize("others", [[], [f"audio/{number}.mp3" for number in range(LISTED_FROM)]])
def test_a_link_out_of_the_root_is_an_error_of_its_row(catalog: Path, others: list[str]) -> None:
    outside = ["audio/outside.mp3", "elsewhere/deep/a.mp3", "elsewhere/deep/none.mp3"]
    write(catalog, ["audio/1.mp3", "audio/inside.mp3", "again/2.mp3", *outside, *others])
    with pytest.raises(CatalogError) as caught:
        load(catalog)
    errors = [problem for problem in caught.value.problems if problem.severity == "error"]
    assert [(problem.row, problem.rule) for problem in errors] == [
        (row, "a link out of the catalog's root") for row in (4, 5, 6)
    ]
    target = catalog.parent / "other" / "deep" / "a.mp3"
    assert f"it leads to {target}: " in errors[0].fix
    assert "catalog_rules.allowed_roots" in errors[0].fix


def test_links_to_an_allowed_root_and_a_root_that_is_a_link_are_fine(catalog: Path) -> None:
    write(catalog, ["audio/1.mp3", "audio/outside.mp3", "elsewhere/deep/a.mp3"])
    other = catalog.parent / "other"
    (catalog.parent / "other link").symlink_to(other)
    (catalog.parent / "catalog link").symlink_to(catalog)
    for allowed in (str(other), (catalog.parent / "other link").as_uri()):
        assert load(catalog, allowed) == ["missing table"]
        assert load(catalog.parent / "catalog link", allowed) == ["missing table"]


def test_files_of_remote_storage_and_of_no_folder_are_not_outside(tmp_path: Path) -> None:
    uris = pa.chunked_array([["s3://bucket/a.mp3", f"{tmp_path}/none/a.mp3", "http://h/a.mp3"]])
    assert outside_by_link(uris, ["s3://bucket", str(tmp_path)]).tolist() == [False] * 3
    assert outside_by_link(pa.chunked_array([], pa.string()), ["/"]).tolist() == []


def test_loops_of_links_end_every_walk(catalog: Path) -> None:
    for number in range(3):
        (catalog / "audio" / f"up{number}").symlink_to("..")
    (catalog / "audio" / "self.mp3").symlink_to("self.mp3")
    (catalog / "audio" / "dangling.mp3").symlink_to("/none")
    files = [f"{catalog}/audio/{number}.mp3" for number in range(LISTED_FROM)]
    names = [*files, f"{catalog}/audio/self.mp3", f"{catalog}/audio/up0/audio/up1/tracks.csv"]
    versions = file_versions(pa.chunked_array([names]), str(catalog)).to_pylist()
    assert [name for name, version in zip(names, versions, strict=True) if version == MISSING] == [
        f"{catalog}/audio/self.mp3",
        f"{catalog}/audio/up0/audio/up1/tracks.csv",
    ]
    uris = of_folder(str(catalog))[0].column("uri").to_pylist()
    assert len(uris) == len({os.path.realpath(uri) for uri in uris}) + 2  # two links to files
    assert len(uris) == LISTED_FROM + 3


def test_a_version_is_what_pyarrow_told_of_the_file(catalog: Path) -> None:
    """Users' stores hold versions in this form: another one would extract every file again."""
    names = [f"{catalog}/audio/{number}.mp3" for number in range(LISTED_FROM)]
    versions = file_versions(pa.chunked_array([names]), str(catalog)).to_pylist()
    infos = fs.LocalFileSystem().get_file_info(names)
    assert versions == [f"{info.size}-{info.mtime_ns}" for info in infos]


def test_a_name_that_is_not_utf8_hides_no_other_file(catalog: Path) -> None:
    with open(os.fsencode(catalog / "audio") + b"/lat\xe9.mp3", "wb") as file:
        file.write(b"x")
    names = [f"{catalog}/audio/{number}.mp3" for number in range(LISTED_FROM)]
    assert MISSING not in file_versions(pa.chunked_array([names]), str(catalog)).to_pylist()
    queries, left_out = of_folder(str(catalog / "audio"))
    assert queries.num_rows == LISTED_FROM + 2
    assert "1 name not UTF-8" in left_out_sentence(left_out)
