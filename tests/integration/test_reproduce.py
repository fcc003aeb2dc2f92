"""The thesis' tables end to end, on small trees of the published forms: every row trained, every
faulty file accounted for."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import mlflow
import pytest
from cifar_tree import build_cifar_tree
from fma_tree import FmaTree, build_fma_tree

from musicrec import schema
from musicrec.config.jobs import ReproduceConfig
from musicrec.config.load import from_yaml
from musicrec.pipeline.catalog import open_run
from musicrec.pipeline.extract import extract
from musicrec.pipeline.retrain import evaluate_run
from musicrec.storage.store import Store, resolve
from musicrec.studies.reproduce import reproduce

AUDIO = """
catalog_rules: {form: fma, fma_subset: medium}
extract: {features: [mel, chroma, mfcc], precision: uint8, rows_per_block: 16, maximum_failed_share: 0.5}
train: {launch: task, parallel_runs: 2, cache_gigabytes: 0.1}
models:
  mel.time: &model
    architecture: time
    feature: mel
    pool: [4, 4]
    sizes: {channels: [8, 8, 8, 8, 16], batch_norm_momentum: 0.5}
    learning_rates: [0.01]
    patience: [3]
    maximum_epochs: 3
  mel.freq: {<<: *model, architecture: freq, pool: [2, 8]}
"""
ONE_GENRE = (
    AUDIO
    + """
  chroma.rnn: {<<: *model, architecture: rnn, feature: chroma, pool: [1, 8], sizes: {hidden: [8, 8]}}
task: single_genre
stacks:
  mel.time_freq: &stack {architecture: time_freq, submodels: [mel.time, mel.freq], patience: [3], maximum_epochs: 3}
  genre_ensemble: {<<: *stack, architecture: genre_ensemble, submodels: [mel.time, chroma.rnn], sizes: {hidden: [16]}}
"""
)
MANY_GENRES = (
    AUDIO
    + """
task: many_genres
stacks:
  mel.time_freq_avg: {architecture: time_freq_avg, submodels: [mel.time, mel.freq]}
"""
)
CIFAR = """
task: single_genre
catalog_rules: {form: cifar100}
extract: {features: [cifar], maximum_failed_share: 0.5}
evaluate: {statistics: [cifar]}
train: {launch: task, parallel_runs: 2, cache_gigabytes: 0.1}
models:
  cifar.time: &model
    architecture: time
    feature: cifar
    sizes: {channels: [8, 8, 8, 8, 16], batch_norm_momentum: 0.5}
    learning_rates: [0.01]
    patience: [2]
    maximum_epochs: 2
  cifar.freq: {<<: *model, architecture: freq}
stacks:
  cifar.time_freq: {architecture: time_freq, submodels: [cifar.time, cifar.freq], patience: [2], maximum_epochs: 2}
"""


def table_config(text: str, number: int, store: Path, catalog: str | Path) -> ReproduceConfig:
    config = from_yaml(text, "table.yaml")
    return ReproduceConfig(
        **vars(dataclasses.replace(config, store=str(store), catalog=str(catalog))),
        table=number,
        seeds=(0,),
    )


def figures(markdown: str) -> list[dict[str, Any]]:
    """The lines of the CSV that lies beside a table's Markdown."""
    filesystem, path = resolve(markdown.removesuffix("md") + "csv")
    with filesystem.open_input_file(path) as stream:
        return list(csv.DictReader(io.StringIO(stream.read().decode())))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def fma(tmp_path_factory: pytest.TempPathFactory) -> FmaTree:
    return build_fma_tree(tmp_path_factory.mktemp("fma"), "medium", tracks=30, genres=3, seed=0)


@pytest.fixture(scope="module")
def table_3(ray_session: None, store: Path, fma: FmaTree) -> tuple[ReproduceConfig, str]:
    config = table_config(ONE_GENRE, 3, store, fma.root)
    return config, reproduce(config)


def test_table_3_has_every_row_beside_the_thesis_and_what_needs_no_network(
    table_3: tuple[ReproduceConfig, str],
) -> None:
    rows = {row["model"]: row for row in figures(table_3[1]) if row["metric"] == "f1_micro"}
    trained = {"mel.time", "mel.freq", "chroma.rnn", "mel.time_freq", "genre_ensemble"}
    baselines = {"majority", "logistic regression", "RBF-SVM"}
    assert {name for name, row in rows.items() if row["ours"]} == trained | baselines
    assert rows["genre_ensemble"]["thesis"] == "0.654998"
    for name in trained:
        row = rows[name]
        assert (
            0
            <= float(row["interval_low"])
            <= float(row["ours"])
            <= float(row["interval_high"])
            <= 1
        )
        assert float(row["difference"]) == pytest.approx(float(row["ours"]) - float(row["thesis"]))
        assert int(row["parameters"]) > 0
    assert int(rows["mel.time_freq"]["parameters"]) > int(rows["mel.time"]["parameters"]) + int(
        rows["mel.freq"]["parameters"]
    )
    # Genres are tones of their own registers: a baseline on clip statistics tells them apart, the
    # majority does not.
    assert float(rows["logistic regression"]["ours"]) > float(rows["majority"]["ours"])


def test_mlflow_has_the_scores_and_the_confusion_matrix_of_each_model(
    table_3: tuple[ReproduceConfig, str],
) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{table_3[0].store}/mlflow.db")
    (experiment,) = (found for found in client.search_experiments() if found.name != "Default")
    runs = {
        run.info.run_name: run
        for run in client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])
    }
    rows = {row["model"]: row for row in figures(table_3[1]) if row["metric"] == "f1_micro"}
    for name in ("mel.time", "mel.time_freq", "genre_ensemble"):
        assert runs[name].info.status == "FINISHED"
        assert runs[name].data.metrics["test_f1_micro"] == pytest.approx(
            float(rows[name]["ours"]), abs=1e-6
        )
        assert len(client.get_metric_history(runs[name].info.run_id, "validation_accuracy")) > 1
        assert "confusion_matrix.png" in {
            file.path for file in client.list_artifacts(runs[name].info.run_id)
        }


def test_every_faulty_clip_of_the_tree_is_in_the_errors_table(
    table_3: tuple[ReproduceConfig, str], fma: FmaTree
) -> None:
    outcome = extract(open_run(table_3[0]))
    assert not outcome.worked
    errors = Store(table_3[0].store).read_table(outcome.stage.path("errors.parquet"), schema.ERRORS)
    assert {row["track_id"]: row["reason"] for row in errors.to_pylist()} == fma.faulty
    assert outcome.record["rows_in"] == outcome.record["rows_out"] + len(fma.faulty)
    assert {row["errors"] for row in figures(table_3[1])} == {str(len(fma.faulty))}


def test_the_report_of_a_genre_task(table_3: tuple[ReproduceConfig, str], fma: FmaTree) -> None:
    done = evaluate_run(table_3[0])
    assert not done.evaluated.worked
    assert done.reported.worked
    store, folder = Store(table_3[0].store), done.reported.stage.folder
    page = store.read(f"{folder}/report.html").decode()
    for heading in (
        "Confusion matrix",
        "Table 3 of the thesis",
        "Does the probability of the predicted genre",
        "Errors by reason",
    ):
        assert heading in page
    for name in (*done.models, *done.targeted.record["classes"], *set(fma.faulty.values())):
        assert name in page
    assert {"confusion-matrix.png", "confusion-matrix.svg", "figure-03-mel.png"} <= set(
        store.names(f"{folder}/pictures")
    )
    assert done.reported.record["left_out"] == {}


def test_table_5_of_the_same_clips_extracts_nothing_again(
    table_3: tuple[ReproduceConfig, str], store: Path, fma: FmaTree
) -> None:
    config = table_config(MANY_GENRES, 5, store, fma.root)
    rows = figures(reproduce(config))
    assert not extract(open_run(config)).worked
    ours = {(row["model"], row["metric"]): float(row["ours"]) for row in rows if row["ours"]}
    assert {model for model, _ in ours} == {
        "mel.time",
        "mel.freq",
        "mel.time_freq_avg",
        "label shares",
        "logistic regression",
    }
    assert {metric for _, metric in ours} == {
        "hamming",
        "mse",
        "map_macro",
        "roc_auc_macro",
        "f1_macro",
    }
    assert all(0 <= value <= 1 for value in ours.values())
    # The mean of two predictions is never further from the truth than the worse of them, by
    # convexity.
    assert ours["mel.time_freq_avg", "mse"] <= max(ours["mel.time", "mse"], ours["mel.freq", "mse"])
    thesis = {(row["model"], row["metric"]): row["thesis"] for row in rows}
    assert (thesis["mel.time_freq_avg", "hamming"], thesis["mel.time_freq_avg", "mse"]) == (
        "0.018142",
        "0.015101",
    )


def test_table_4_on_pictures(ray_session: None, store: Path, tmp_path: Path) -> None:
    config = table_config(
        CIFAR, 4, store, build_cifar_tree(tmp_path, train=60, test=20, classes=4, seed=0)
    )
    rows = {row["model"]: row for row in figures(reproduce(config)) if row["metric"] == "f1_micro"}
    expected = {
        "cifar.time",
        "cifar.freq",
        "cifar.time_freq",
        "majority",
        "logistic regression",
        "RBF-SVM",
    }
    assert {name for name, row in rows.items() if row["ours"]} == expected
    assert rows["cifar.simple"]["thesis"] == "0.5708" and not rows["cifar.simple"]["ours"]
    assert (
        rows["cifar.time"]["train"],
        rows["cifar.time"]["validation"],
        rows["cifar.time"]["test"],
    ) == ("48", "12", "20")
