from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow as pa
import pytest

from musicrec import schema
from musicrec.catalog.tables import Catalog
from musicrec.config.jobs import Config
from musicrec.config.load import ConfigError, preset
from musicrec.config.sections import EmbedSettings
from musicrec.pipeline.base import Run
from musicrec.pipeline.embed import NOT_IN_KEY, TABLE, embed, key_settings, relations_without
from musicrec.storage.store import Store, fingerprint

EDGES = [
    ("a", "b"),
    ("b", "a"),
    ("a", "v"),
    ("v", "t"),
    ("t", "a"),
    ("t", "only named by t"),
    ("b", "untracked"),
]
ONE_STAGE = {
    "objective": "thesis",
    "select_by": "loss",
    "decay": "none",
    "held_out": 0,
    "learning_rates": (0.1,),
    "artists_per_step": (1,),
    "patience": (5,),
    "maximum_passes": 5,
}
THESIS = EmbedSettings(
    objective="thesis",
    learning_rates=(1e-3, 5e-4, 1e-5),
    artists_per_step=(32, 16, 1),
    patience=(1, 1, 2),
    maximum_passes=200,
    select_by="loss",
    decay="none",
    held_out=0,
)
QUICK = EmbedSettings(dimensions=4, full_batch=True, hold_out_test_relations=True, **ONE_STAGE)


def run_of(tmp_path: Path, edges: list[tuple[str, str]], embed: EmbedSettings = QUICK) -> Run:
    """Return a run on four artists with a track each, "t" the test artist, and these relations."""
    ids = ["a", "b", "v", "t"]
    tracks = {
        "track_id": [f"{artist}1" for artist in ids],
        "artist_id": ids,
        "audio": ["x.mp3"] * 4,
        "genres": [[]] * 4,
        "split": ["train", "train", "validation", "test"],
    }
    heads, tails = zip(*edges, strict=True)
    related = pa.table(
        {
            "artist_id": heads,
            "related_artist_id": tails,
            "rank": pa.array(range(1, len(edges) + 1), pa.int32()),
        }
    )
    catalog = Catalog(
        str(tmp_path),
        schema.conform(pa.table(tracks), schema.TRACKS, "tracks"),
        schema.conform(pa.table({"artist_id": ids, "genres": [[]] * 4}), schema.ARTISTS, "artists"),
        schema.conform(related, schema.RELATED, "related"),
    )
    return Run(Config(embed=embed), Store(str(tmp_path / "store")), catalog, "key")


def test_relations_of_an_artist_are_left_out_on_either_side(tmp_path: Path) -> None:
    kept = relations_without(run_of(tmp_path, EDGES).catalog.related, ["t", "nobody"])
    assert list(zip(*kept.to_pydict().values(), strict=True)) == [
        ("a", "b", 1),
        ("b", "a", 2),
        ("a", "v", 3),
        ("b", "untracked", 7),
    ]


def test_held_out_embeddings_are_those_of_a_catalog_without_the_relations(tmp_path: Path) -> None:
    held_out = embed(run_of(tmp_path, EDGES))
    run = run_of(
        tmp_path,
        [edge for edge in EDGES if "t" not in edge],
        dataclasses.replace(QUICK, hold_out_test_relations=False),
    )
    ids = (
        run.store.read_table(held_out.stage.path(TABLE), schema.EMBEDDINGS)
        .column("artist_id")
        .to_pylist()
    )
    assert ids == [
        "a",
        "b",
        "t",
        "untracked",
        "v",
    ]  # "t" has tracks, and so a row; who only t names is not there
    ranks = pa.array([1, 2, 3, 7], pa.int32())
    related = run.catalog.related.set_column(2, schema.RELATED.field("rank"), ranks)
    same = embed(
        dataclasses.replace(run, catalog=dataclasses.replace(run.catalog, related=related))
    )
    assert not same.worked
    assert same.stage.key == held_out.stage.key
    everything = run_of(tmp_path, EDGES, dataclasses.replace(QUICK, hold_out_test_relations=False))
    assert embed(everything).stage.key != held_out.stage.key


def test_nothing_left_to_learn_from_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"embed\.hold_out_test_relations: every relation"):
        embed(run_of(tmp_path, [("t", "a"), ("b", "t")]))


def test_the_contrastive_objective_by_configuration(tmp_path: Path) -> None:
    settings = EmbedSettings(
        dimensions=4,
        initial="spread",
        steps="near",
        uniform_negatives=2,
        **{**ONE_STAGE, "objective": "contrastive", "decay": "linear"},
    )
    run = run_of(tmp_path, EDGES, settings)
    outcome = embed(run)
    record = outcome.record
    assert (record["rows_in"], record["rows_out"]) == (6, 6)
    assert 0 < record["jaccard"] <= 1


def test_keys_still_hash_the_retired_settings() -> None:
    """Embeddings of stores written when ``regions`` existed keep their keys."""
    settings = key_settings(THESIS)
    assert settings["regions"] == 0
    assert not set(settings) & set(NOT_IN_KEY)
    assert fingerprint(1, settings, 0) == "419d16c46ab194cb"


def test_settings_without_effect_leave_the_key_of_the_thesis_as_it_was() -> None:
    changed = dataclasses.replace(
        THESIS, held_out_by="artist", temperatures=(0.3,), restart=0.5, neighbourhood=7
    )
    assert key_settings(changed) == key_settings(THESIS)
    assert fingerprint(1, key_settings(preset("thesis-webapi").embed), 0) == "9cd561834a426094"
    measured = dataclasses.replace(THESIS, held_out=0.1)
    assert key_settings(measured) == key_settings(THESIS)
    assert fingerprint(1, key_settings(preset("demo").embed), 0) == "b9b31221a79c8fe1"
    default = EmbedSettings()
    for changes in ({"held_out": 0.2}, {"held_out_by": "artist"}, {"restart": 0.5}):
        assert key_settings(dataclasses.replace(default, **changes)) != key_settings(default)
