"""The locations that recommend.py takes: a catalog with allowed roots, in any spelling."""

from __future__ import annotations

from pathlib import Path

import pytest

from musicrec.catalog.tables import CatalogError
from musicrec.config.jobs import RecommendConfig
from musicrec.pipeline.recommend import _queries


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """A catalog whose audio folder is a link to another one."""
    folder, other = tmp_path / "a catalog", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (folder / "audio").symlink_to(other)
    (folder / "tracks.csv").write_text(
        "track_id,artist_id,audio\n" + "".join(f"t{i},a{i},audio/{i}.mp3\n" for i in range(3))
    )
    (folder / "related.csv").write_text("artist_id,related_artist_id,rank\na0,a1,1\na2,a1,1\n")
    return folder


def test_links_of_a_catalog_lead_to_allowed_roots_only(catalog: Path) -> None:
    with pytest.raises(CatalogError, match="a link out of the catalog's root"):
        _queries(RecommendConfig(catalog=str(catalog)))
    allowed = ((catalog.parent / "other").as_uri(),)
    for root in (str(catalog), catalog.as_uri()):
        queries, _ = _queries(RecommendConfig(catalog=root, allowed_roots=allowed))
        assert queries.column("uri").to_pylist() == [f"{catalog}/audio/{i}.mp3" for i in range(3)]


def test_a_folder_given_as_a_uri(catalog: Path) -> None:
    (catalog.parent / "other" / "b c.mp3").write_bytes(b"x")
    folder = (catalog / "audio").as_uri()
    queries, _ = _queries(RecommendConfig(folder=folder))
    assert queries.column("uri").to_pylist() == [f"{catalog}/audio/b c.mp3"]
