"""The whole way on a small catalog: what each stage records, what MLflow holds, and what a second
run does (nothing)."""

from __future__ import annotations

import dataclasses
import runpy
import shutil
import sys
from pathlib import Path

import mlflow
import pytest
from small_catalog import FORMATS, encoded, files_under, sound
from small_run import REPOSITORY, Retrained, tiny_yaml

from musicrec import schema
from musicrec.config.jobs import Config, ReproduceConfig
from musicrec.extraction.index import INDEX
from musicrec.pipeline.base import versions
from musicrec.pipeline.catalog import open_run
from musicrec.pipeline.embed import TABLE
from musicrec.pipeline.evaluate import RESULTS
from musicrec.pipeline.extract import extract
from musicrec.pipeline.retrain import retrain
from musicrec.registry import runs as tracking
from musicrec.registry.loading import load_recommender
from musicrec.registry.training_log import git_commit
from musicrec.registry.versions import DIGEST_TAG, MADE_FROM_TAG
from musicrec.storage.store import Store
from musicrec.studies.reproduce import reproduce
from musicrec.training.checkpoints import load_weights

pytestmark = pytest.mark.timeout(
    600
)  # the first test of a session waits for the retrain that all look at

MODELS = ("mfcc.large_rnn", "lyrics")


@pytest.fixture(scope="module")
def registry(retrained: Retrained) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(retrained.registered.record["tracking_uri"])


def prediction_ids(retrained: Retrained, record: dict) -> list[str]:
    store = Store(retrained.store)
    tables = [store.read_table(name, schema.PREDICTIONS) for name in record["predictions"]]
    return [track for table in tables for track in table.column("track_id").to_pylist()]


def test_every_track_is_extracted_once(retrained: Retrained) -> None:
    record, stage = retrained.done.extracted.record, retrained.done.extracted.stage
    assert (
        record["rows_in"],
        record["rows_out"],
        record["rows_in_errors"],
        record["artwork_errors"],
    ) == (24, 24, 0, 0)
    assert (record["rows_extracted_now"], record["pictures_now"]) == (
        24,
        6,
    )  # a picture that two tracks share is read once
    index = Store(retrained.store).read_table(stage.path("index.parquet"), INDEX).to_pylist()
    places = [(row["track_id"], row["modality"]) for row in index]
    assert len(places) == len(set(places))
    for modality in ("mel", "mfcc"):
        assert {
            track for track, found in places if found == modality
        } == retrained.catalog.track_ids()
    pictured = {row["track_id"] for row in retrained.catalog.tracks if row["artwork"]}
    assert {track for track, found in places if found == "artwork"} == pictured


def test_every_format_was_decoded(retrained: Retrained) -> None:
    store, suffix = (
        Store(retrained.store),
        {row["track_id"]: row["audio"].rpartition(".")[2] for row in retrained.catalog.tracks},
    )
    parts = [name for name in files_under(retrained.store, "features") if "/parts/" in name]
    facts = [
        row
        for part in parts
        for row in store.read_table(part, schema.pa.schema(schema.FEATURE_FACTS)).to_pylist()
    ]
    assert {row["codec"] for row in facts if suffix[row["track_id"]] == "mp3"} == {"mpeg_layer_iii"}
    assert {suffix[row["track_id"]] for row in facts} == set(FORMATS)
    assert all(
        row["duration_seconds"] == pytest.approx(3, abs=0.1) and not row["silent"] for row in facts
    )


def test_embeddings_of_every_artist_those_without_tracks_too(retrained: Retrained) -> None:
    record, stage = retrained.done.targeted.record, retrained.done.targeted.stage
    table = Store(retrained.store).read_table(stage.path(TABLE), schema.EMBEDDINGS)
    assert set(table.column("artist_id").to_pylist()) == {
        row["artist_id"] for row in retrained.catalog.artists
    } | {"teacher"}
    assert record["rows_in"] == record["rows_out"] == 13
    assert record["jaccard"] > record["jaccard_chance"]


@pytest.mark.parametrize("name", [*MODELS, "recommendation"])
def test_the_record_of_a_training(retrained: Retrained, name: str) -> None:
    outcome = retrained.done.models[name]
    record = outcome.record
    expected = (
        retrained.catalog.track_ids()
        if name != "lyrics"
        else {r["track_id"] for r in retrained.catalog.tracks if r["lyrics"]}
    )
    ids = prediction_ids(retrained, record)
    assert len(ids) == len(set(ids)) == record["rows_out"]
    assert set(ids) == expected
    assert record["rows_in"] == record["rows_out"] + record["rows_incomplete"]
    assert [epoch["epoch"] for epoch in record["history"]] == [0, 1]
    assert record["epochs"] == 2
    assert record["validation"] == max(epoch["validation"] for epoch in record["history"])


def test_the_stages_say_what_made_them(retrained: Retrained) -> None:
    store = Store(retrained.store)
    stages = [retrained.done.extracted, retrained.done.targeted, *retrained.done.models.values()]
    for outcome in [
        *stages,
        retrained.done.evaluated,
        retrained.done.reported,
        retrained.registered,
    ]:
        assert outcome.stage.success() == outcome.record
        assert outcome.record["versions"]["torch"]
        assert store.read_json(outcome.stage.path("config.json"))["seed"] == retrained.config.seed


def test_evaluation_is_on_the_test_split_alone(retrained: Retrained) -> None:
    record = retrained.done.evaluated.record
    assert (
        record["rows_in"],
        record["rows_out"],
        record["rows_incomplete"],
        record["test_artists"],
    ) == (4, 4, 0, 2)
    assert -1 <= record["test_cosine"] <= 1
    assert 0 <= record["ndcg@5"] <= 1


def test_results_have_every_level_and_part_of_each_model_and_baseline(retrained: Retrained) -> None:
    results = Store(retrained.store).read_json(retrained.done.evaluated.stage.path(RESULTS))
    assert results.keys() == {
        *MODELS,
        "recommendation",
        "random",
        "popularity",
        "mean embedding",
        "ridge",
    }
    for name in ("recommendation", "ridge"):
        assert results[name]["levels"].keys() == {"track", "artist"}  # no track names an album
        assert results[name].keys() >= {
            "head",
            "tail",
            "intervals",
            "chance",
            "coverage@5",
            "hubness@5",
            "without_test_artists",
        }
    assert results["recommendation"]["ndcg@5"] == retrained.done.evaluated.record["ndcg@5"]


def test_the_recommender_as_table_6_has_the_baselines_beside_it(retrained: Retrained) -> None:
    markdown = reproduce(
        ReproduceConfig(
            **vars(retrained.config), table=6, seeds=(retrained.config.seed,), rows="recommendation"
        )
    )
    lines = [
        line.strip("| ").split(" | ")
        for line in Path(markdown).read_text().splitlines()
        if line.startswith("| ")
    ]
    rows = {cells[0]: cells for cells in lines}
    assert rows["recommendation"][1] == "0.5670"  # the thesis'
    assert float(rows["recommendation"][2]) == pytest.approx(
        retrained.done.evaluated.record["test_cosine"], abs=1e-4
    )
    assert {"random", "mean embedding", "ridge"} <= {
        name for name, cells in rows.items() if cells[2] != "-"
    }
    assert rows["popularity"][2] == "-"  # no cosine


def test_mlflow_has_one_run_with_a_child_for_each_model(
    retrained: Retrained, registry: mlflow.MlflowClient
) -> None:
    experiment = registry.get_experiment_by_name("musicrec")
    runs = registry.search_runs([experiment.experiment_id])
    children = {run.info.run_name: run for run in runs if "mlflow.parentRunId" in run.data.tags}
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    assert len(runs) == 4
    assert set(children) == {*MODELS, "recommendation"}
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {
        parent.info.run_id
    }
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert parent.data.params["extract.features"] == '["mel", "mfcc"]'
    assert parent.data.metrics["test_cosine"] == pytest.approx(
        retrained.done.evaluated.record["test_cosine"]
    )
    for name, run in children.items():
        outcome = retrained.done.models[name]
        logged = sorted(
            registry.get_metric_history(run.info.run_id, "validation_cosine"),
            key=lambda metric: metric.step,
        )
        assert [metric.step for metric in logged] == [0, 1]
        assert [metric.value for metric in logged] == pytest.approx(
            [epoch["validation"] for epoch in outcome.record["history"]]
        )


def test_a_run_in_mlflow_says_of_what_and_by_what_it_is(
    retrained: Retrained, registry: mlflow.MlflowClient
) -> None:
    runs = registry.search_runs([registry.get_experiment_by_name("musicrec").experiment_id])
    for run in runs:
        (read,) = run.inputs.dataset_inputs
        assert (read.dataset.name, read.dataset.digest) == (
            "catalog",
            retrained.done.run.catalog_key,
        )
        if "mlflow.parentRunId" not in run.data.tags:
            assert {
                f"version.{name}": version for name, version in versions().items()
            }.items() <= run.data.tags.items()
            assert run.data.tags.get("mlflow.source.git.commit") == git_commit()
            assert any(name.startswith("system/") for name in run.data.metrics)
            continue
        weights = load_weights(
            Store(retrained.store), retrained.done.models[run.info.run_name].stage.folder
        )
        numbers = sum(value.numel() for value in weights.values() if value.is_floating_point())
        assert (run.data.params["parameters"], run.data.params["seed"]) == (
            str(numbers),
            str(retrained.config.seed),
        )
        assert run.data.params["schedule.learning_rates"] == "[0.01]"
        assert "learning_curves.png" in {
            file.path for file in registry.list_artifacts(run.info.run_id)
        }


def test_the_first_version_is_the_champion(
    retrained: Retrained, registry: mlflow.MlflowClient
) -> None:
    assert [
        int(version.version) for version in registry.search_model_versions("name = 'musicrec'")
    ] == [1]
    assert (
        registry.get_model_version_by_alias("musicrec", "champion").run_id
        == retrained.registered.record["run_id"]
    )
    assert retrained.registered.record["alias"] == "champion"


def test_a_second_run_writes_nothing_and_says_so(
    retrained: Retrained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = files_under(retrained.store)
    again, registered = retrain(retrained.config)
    assert not again.worked
    assert not registered.worked
    assert registered.record == retrained.registered.record

    settings = tmp_path / "tiny.yaml"
    settings.write_text(tiny_yaml(retrained.store, retrained.config.catalog))
    monkeypatch.setattr(sys, "argv", ["retrain.py", "--config", str(settings)])
    runpy.run_path(str(REPOSITORY / "jobs" / "retrain.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert "Everything was already complete: nothing was done" in said
    assert "version 1 is the first and becomes champion" in said
    assert f"Open it:     {retrained.done.reported.record['report']}" in said
    # No run of Ray Train, no run or version in MLflow: not one file was written, nor the registry's
    # database touched.
    assert files_under(retrained.store) == before


def test_of_a_catalog_with_one_more_track_only_that_one_is_read(
    retrained: Retrained, tmp_path: Path
) -> None:
    grown = retrained.catalog.copy()
    grown.files["audio/new.flac"] = encoded(sound("organ", [9]), "flac")
    grown.tracks.append(grown.tracks[0] | {"track_id": "new", "audio": "audio/new.flac"})
    grown.write(retrained.config.catalog)
    parts = {name for name in files_under(retrained.store, "features") if "/parts/" in name}
    try:
        outcome = extract(open_run(retrained.config))
    finally:
        retrained.catalog.write(retrained.config.catalog)
    assert outcome.worked
    assert (outcome.record["rows_in"], outcome.record["rows_out"]) == (25, 25)
    assert (outcome.record["rows_extracted_now"], outcome.record["pictures_now"]) == (1, 0)
    (new,) = {
        name for name in files_under(retrained.store, "features") if "/parts/" in name
    } - parts
    assert Store(retrained.store).read_table(new, schema.pa.schema(schema.FEATURE_FACTS)).column(
        "track_id"
    ).to_pylist() == ["new"]
    assert not extract(
        open_run(retrained.config)
    ).worked  # the catalog as it was finds its own extraction complete


@pytest.fixture
def on_a_copy(retrained: Retrained, tmp_path: Path) -> Config:
    """The configuration of the finished retrain with a copy of its store and registry."""
    store = shutil.copytree(retrained.store, tmp_path / "store")
    train = dataclasses.replace(retrained.config.train, launch="task")
    return dataclasses.replace(retrained.config, store=str(store), train=train)


def numbers_of(config: Config, version: int) -> dict[str, bytes]:
    """The weights of a registered version, by model."""
    model = f"models:/{config.registry.model}/{version}"
    recommender = load_recommender(model, config.registry, Store(config.store))
    return {
        name: b"".join(value.numpy().tobytes() for value in model.state_dict().values())
        for name, model in recommender.models.items()
    }


@pytest.mark.slow
def test_a_replaced_training_file_makes_a_version_with_other_weights(
    retrained: Retrained, on_a_copy: Config, tmp_path: Path
) -> None:
    before = shutil.copytree(retrained.config.catalog, tmp_path / "catalog")
    row = next(row for row in retrained.catalog.tracks if row["split"] == "train")
    try:
        file = Path(retrained.config.catalog) / row["audio"]
        file.write_bytes(encoded(sound("drum", [77]), row["audio"].rpartition(".")[2]))
        done, registered = retrain(on_a_copy)
        again, registered_again = retrain(on_a_copy)
    finally:
        shutil.rmtree(retrained.config.catalog)
        shutil.copytree(before, retrained.config.catalog)
    assert done.run.catalog_key == retrained.done.run.catalog_key  # the tables are the same
    assert (registered.record["version"], registered.worked) == (2, True)
    assert "version 1" in registered.record["decision"]  # the champion it was compared with
    first, second = numbers_of(on_a_copy, 1), numbers_of(on_a_copy, 2)
    assert first.keys() == second.keys()
    assert first["recommendation"] != second["recommendation"]
    assert first["mfcc.large_rnn"] != second["mfcc.large_rnn"]
    assert not again.worked
    assert not registered_again.worked


def test_other_segments_or_another_model_name_make_a_version(
    on_a_copy: Config, registry: mlflow.MlflowClient
) -> None:
    wider = dataclasses.replace(
        on_a_copy, registry=dataclasses.replace(on_a_copy.registry, segments=2)
    )
    _, registered = retrain(wider)
    assert registered.record["version"] == 2
    model = f"models:/musicrec/{registered.record['version']}"
    assert load_recommender(model, wider.registry, Store(wider.store)).segments == 2
    renamed = dataclasses.replace(
        on_a_copy, registry=dataclasses.replace(on_a_copy.registry, model="other")
    )
    _, registered = retrain(renamed)
    assert (registered.record["model"], registered.record["version"]) == ("other", 1)
    assert numbers_of(renamed, 1) == numbers_of(on_a_copy, 1)


def test_a_version_from_before_the_tags_is_found_by_its_files(on_a_copy: Config) -> None:
    tracking.connect(on_a_copy.registry, Store(on_a_copy.store))
    client = mlflow.MlflowClient()
    tags = client.get_model_version("musicrec", "1").tags
    for tag in (MADE_FROM_TAG, DIGEST_TAG):
        client.delete_model_version_tag("musicrec", "1", tag)
    shutil.rmtree(Path(on_a_copy.store) / "registered")
    _, registered = retrain(on_a_copy)
    assert (registered.worked, registered.record["version"]) == (True, 1)
    found = client.get_model_version("musicrec", "1").tags
    assert {name: found[name] for name in (MADE_FROM_TAG, DIGEST_TAG)} == {
        name: tags[name] for name in (MADE_FROM_TAG, DIGEST_TAG)
    }


@pytest.mark.slow
def test_the_whole_way_with_catalog_store_and_model_on_s3(
    retrained: Retrained, retrained_on_s3: Retrained
) -> None:
    config, done, registered = (
        retrained_on_s3.config,
        retrained_on_s3.done,
        retrained_on_s3.registered,
    )
    assert done.extracted.record["rows_out"] == 24
    for name, outcome in done.models.items():
        here = retrained.done.models[name]
        # The same seed gives the same training, wherever its rows lie.
        assert outcome.record["validation"] == pytest.approx(here.record["validation"], abs=1e-5)
        assert outcome.record["rows_out"] == here.record["rows_out"]
    client = mlflow.MlflowClient(registered.record["tracking_uri"])
    champion = client.get_model_version_by_alias("musicrec", "champion")
    artifacts = client.get_experiment_by_name("musicrec").artifact_location
    assert artifacts == f"{config.store}/mlflow-artifacts"
    assert any(
        name.endswith("recommendation.safetensors")
        for name in files_under(config.store, "mlflow-artifacts")
    )
    assert int(champion.version) == 1
    assert (
        done.reported.record["report"]
        == f"{config.store}/report/{done.reported.stage.key}/report.html"
    )
    assert "report.html" in Store(config.store).names(done.reported.stage.folder)
    before = files_under(config.store)
    again, registered_again = retrain(config)
    assert not again.worked
    assert not registered_again.worked
    assert files_under(config.store) == before
