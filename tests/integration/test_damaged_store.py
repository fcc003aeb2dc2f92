"""Damaged objects of a finished run: one run names them, and the next makes them again."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from small_catalog import UserCatalog
from small_run import Retrained, tiny_config

from musicrec.config.jobs import Config
from musicrec.extraction.index import INDEX
from musicrec.pipeline.assemble import write_recommender
from musicrec.pipeline.catalog import open_run
from musicrec.pipeline.clip_statistics import read_statistics, statistics
from musicrec.pipeline.evaluate import RESULTS
from musicrec.pipeline.extract import extract
from musicrec.pipeline.retrain import Evaluated, evaluate_stacked, train_stacks
from musicrec.storage.record import SUCCESS, DamagedError
from musicrec.storage.store import Store

pytestmark = pytest.mark.slow


def flip(path: Path, position: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= 8
    path.write_bytes(content)


def flip_in_column(path: Path, name: str) -> None:
    """Flip a bit in the first page of a column."""
    group = pyarrow.parquet.read_metadata(path).row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    column = next(each for each in columns if each.path_in_schema.startswith(name))
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size - 2] ^= 8
    path.write_bytes(content)


def test_a_damaged_feature_part_is_extracted_again(
    tmp_path: Path, ray_session: None, catalog_of_users: UserCatalog
) -> None:
    catalog = catalog_of_users.of_artists("organ-0", "organ-3", "fiddle-0", "fiddle-2")
    config = tiny_config(str(tmp_path / "store"), catalog.write(str(tmp_path / "catalog")))
    run = open_run(config)
    first = extract(run)
    index = run.store.read_table(first.stage.path("index.parquet"), INDEX)
    part = Path(index.filter(pa.compute.equal(index.column("modality"), "mfcc"))["part"][0].as_py())
    before = pyarrow.parquet.read_table(part)
    flip_in_column(part, "mfcc")
    with pytest.raises(DamagedError, match=part.name):
        statistics(run, first)
    second = extract(run)
    assert second.worked
    assert second.record["rows_extracted_now"] == before.num_rows
    assert second.stage == first.stage
    assert run.store.read_table(second.stage.path("index.parquet"), INDEX) == index
    assert pyarrow.parquet.read_table(part) == before
    assert not extract(run).worked
    tracks = run.catalog.tracks.column("track_id").to_pylist()
    values = read_statistics(run, statistics(run, second), tracks)
    assert values.shape[0] == len(tracks)


@pytest.fixture
def on_a_copy(retrained: Retrained, tmp_path: Path) -> Config:
    store = shutil.copytree(retrained.store, tmp_path / "store")
    train = dataclasses.replace(retrained.config.train, launch="task")
    return dataclasses.replace(retrained.config, store=str(store), train=train)


def results_of(config: Config) -> tuple[Evaluated, dict[str, Any]]:
    """Evaluate again, whatever the store has, and return the results."""
    store = Store(config.store)
    for key in store.folders("evaluation"):
        store.remove(f"evaluation/{key}/{SUCCESS}")
    done = evaluate_stacked(train_stacks(config))
    return done, store.read_json(done.evaluated.stage.path(RESULTS))


def test_damaged_tables_are_made_again(on_a_copy: Config) -> None:
    done, expected = results_of(on_a_copy)
    root, ensemble = Path(on_a_copy.store), done.models["recommendation"]
    for file in (
        done.targeted.stage.path("embeddings.parquet"),
        ensemble.record["predictions"][0],
        done.models["mfcc.large_rnn"].record["predictions"][0],
    ):
        flip_in_column(root / file, "vector")
        with pytest.raises(DamagedError, match=file):
            results_of(on_a_copy)
        again, results = results_of(on_a_copy)
        assert again.worked
        assert results["random"] == expected["random"]
        for name in done.models:
            assert results[name]["cosine"] == pytest.approx(expected[name]["cosine"], abs=1e-5)


def test_damaged_results_are_computed_again(on_a_copy: Config) -> None:
    done = evaluate_stacked(train_stacks(on_a_copy))
    assert not done.worked
    stage = done.evaluated.stage
    expected = stage.store.read_json(stage.path(RESULTS))
    flip(Path(on_a_copy.store, stage.path(RESULTS)))
    with pytest.raises(DamagedError, match=RESULTS):
        stage.store.read_json(stage.path(RESULTS))
    assert evaluate_stacked(train_stacks(on_a_copy)).evaluated.worked
    assert stage.store.read_json(stage.path(RESULTS)) == expected


def test_damaged_weights_are_not_registered_but_trained_again(
    on_a_copy: Config, tmp_path: Path
) -> None:
    done, _ = results_of(on_a_copy)
    ensemble = done.models["recommendation"].stage
    flip(Path(on_a_copy.store, ensemble.path("model.safetensors")), 0.9)
    with pytest.raises(DamagedError, match=r"model\.safetensors"):
        write_recommender(
            tmp_path / "a", done.run, done.targeted, done.models, done.models["recommendation"]
        )
    assert ensemble.success() is None
    again = train_stacks(on_a_copy)
    assert again.ensemble.worked
    assert again.ensemble.record["epochs"] == done.models["recommendation"].record["epochs"]
    write_recommender(tmp_path / "b", done.run, done.targeted, again.models, again.ensemble)
