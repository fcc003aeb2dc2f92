from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from cifar_tree import build_cifar_tree, read_pickle, write_pickle

from musicrec import schema
from musicrec.config.jobs import Config
from musicrec.config.sections import CatalogSettings, ExtractSettings
from musicrec.extraction.pipeline import TooManyErrors
from musicrec.pipeline import extract_cifar as pictures
from musicrec.pipeline.base import Outcome, Run
from musicrec.pipeline.catalog import open_run, report_catalog
from musicrec.pipeline.extract import extract, places
from musicrec.specs.submodel import SubmodelSpec
from musicrec.storage.uri import absolute
from musicrec.training.inputs import FeatureRows

SPEC = SubmodelSpec("cifar.simple", "simple", 5, feature="cifar")


def config_of(root: Path, store: str, **settings: object) -> Config:
    return Config(
        store=store,
        catalog=str(root),
        task="single_genre",
        catalog_rules=CatalogSettings(form="cifar100"),
        extract=ExtractSettings(features=("cifar",), **settings),
    )


def extracted(config: Config) -> tuple[Run, Outcome]:
    run = open_run(config)
    return run, extract(run)


def broken(root: Path) -> dict[str, str]:
    """Break rows of the training file in each way, and return their reasons."""
    content = read_pickle(root, "train")
    rows = [*content[b"data"]]
    rows[1], rows[2], rows[3] = rows[1][:3000], np.concatenate([rows[2], rows[2]]), "no picture"
    content[b"data"] = rows[:-1]
    content[b"fine_labels"][5] = 100
    write_pickle(root, "train", content)
    reasons = {f"train-{row:05d}": "not_image" for row in (1, 2, 3)}
    return reasons | {"train-00005": "unlabelled", f"train-{len(rows) - 1:05d}": "not_found"}


def test_every_picture_is_read_back_exactly(
    tmp_path: Path, store_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "PART_ROWS", 16)  # several parts of two row groups
    root = build_cifar_tree(tmp_path / "catalog", train=40, test=10)
    run, done = extracted(config_of(root, store_root))
    assert {
        key: done.record[key] for key in ("rows_in", "rows_out", "rows_in_errors", "artwork_errors")
    } == {
        "rows_in": 50,
        "rows_out": 50,
        "rows_in_errors": 0,
        "artwork_errors": 0,
    }
    stored = places(run, done, "cifar")
    assert len({part for part, _ in stored.values()}) == 4
    order = np.random.default_rng(0).permutation(50)
    tracks = [run.catalog.tracks.column("track_id")[row].as_py() for row in order.tolist()]
    rows = FeatureRows(
        SPEC,
        [stored[track][0] for track in tracks],
        np.array([stored[track][1] for track in tracks]),
        1e9,
    )
    (batch,) = rows.read(np.arange(50), None)
    assert batch.shape == (50, 3, 32, 32)
    assert batch.dtype == torch.float32
    published = np.concatenate([read_pickle(root, name)[b"data"] for name in ("train", "test")])
    np.testing.assert_array_equal((batch.numpy() * 255).round().reshape(50, -1), published[order])
    assert 0 <= float(batch.min()) < float(batch.max()) <= 1


def test_plain_pyarrow_reads_the_bytes_of_a_picture(tmp_path: Path) -> None:
    root = build_cifar_tree(tmp_path / "catalog", train=10, test=5)
    run, done = extracted(config_of(root, str(tmp_path / "store")))
    part, row = places(run, done, "cifar")["test-00002"]
    table = pyarrow.parquet.read_table(part)
    description = json.loads(table.schema.field("cifar").metadata[b"musicrec"])
    assert (description["shape"], description["dtype"]) == ([3, 32, 32], "bytes")
    assert table.column("cifar")[row].as_py() == read_pickle(root, "test")[b"data"][2].tobytes()


def test_a_model_learns_from_what_is_read(tmp_path: Path) -> None:
    root = build_cifar_tree(tmp_path / "catalog", train=10, test=5)
    run, done = extracted(config_of(root, str(tmp_path / "store")))
    rows = list(places(run, done, "cifar").values())
    (batch,) = FeatureRows(
        SPEC, [part for part, _ in rows], np.array([row for _, row in rows]), 1e9
    ).read(np.arange(4), None)
    outputs = SPEC.build()(batch)
    assert outputs.shape == (4, 5)
    outputs.sum().backward()


def test_each_broken_picture_is_in_the_errors_table(tmp_path: Path) -> None:
    root = build_cifar_tree(tmp_path / "catalog", train=100, test=20)
    reasons = broken(root)
    config = config_of(root, str(tmp_path / "store"))
    run, done = extracted(config)
    errors = run.store.read_table(done.stage.path("errors.parquet"), schema.ERRORS).to_pylist()
    assert {row["track_id"]: row["reason"] for row in errors} == reasons
    assert {row["reason"] for row in errors} <= {*schema.ERROR_REASONS}
    assert all(
        row["stage"] == "extract" and "cifar-100-python/train#" in row["detail"] for row in errors
    )
    assert done.record["rows_in"] == 120 == done.record["rows_out"] + len(reasons)
    assert places(run, done, "cifar").keys() & reasons.keys() == set()


def test_too_many_broken_pictures_stop_the_run(tmp_path: Path) -> None:
    root = build_cifar_tree(tmp_path / "catalog", train=100, test=20)
    broken(root)
    run = open_run(config_of(root, str(tmp_path / "store"), maximum_failed_share=0.04))
    with pytest.raises(
        TooManyErrors, match=r"5 of 120 rows failed \(.*\).*maximum_failed_share = 0.04"
    ):
        extract(run)
    raised = dataclasses.replace(
        run, config=config_of(root, str(tmp_path / "store"), maximum_failed_share=0.05)
    )
    assert extract(raised).worked


def test_a_finished_stage_is_skipped_and_repaired_pictures_are_read(tmp_path: Path) -> None:
    root = build_cifar_tree(tmp_path / "catalog", train=100, test=20)
    whole = read_pickle(root, "train")
    content = read_pickle(root, "train")
    content[b"data"] = [content[b"data"][0][:5], *content[b"data"][1:]]
    write_pickle(root, "train", content)
    config = config_of(root, str(tmp_path / "store"))
    assert extracted(config)[1].worked
    assert not extracted(config)[1].worked
    write_pickle(root, "train", whole)
    run, mended = extracted(config_of(root, str(tmp_path / "store"), retry_errors=True))
    assert mended.worked
    assert mended.record["rows_in_errors"] == 0
    assert run.store.read_table(mended.stage.path("errors.parquet"), schema.ERRORS).num_rows == 0
    assert not extracted(config)[1].worked


def test_a_catalog_of_this_form_is_opened_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = build_cifar_tree(tmp_path / "catalog", train=20, test=5)
    config = config_of(root, str(tmp_path / "store"))
    run = open_run(config)
    assert run.catalog.root == absolute(str(root))
    assert run.catalog.tracks.num_rows == 25
    report_catalog(config)
    assert "the catalog can be used" in capsys.readouterr().out


def test_pictures_are_not_pooled() -> None:
    with pytest.raises(ValueError, match=r"cifar.simple: pool is \(2, 2\)"):
        SubmodelSpec("cifar.simple", "simple", 5, feature="cifar", pool=(2, 2))
