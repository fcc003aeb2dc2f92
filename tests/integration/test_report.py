"""The report of a whole run on the small catalog: in the store, in MLflow, and nothing done
twice."""

from __future__ import annotations

import dataclasses

import mlflow
import pytest
from small_run import Retrained

from musicrec.config.sections import ReportSettings
from musicrec.pipeline.retrain import evaluate_run
from musicrec.storage.store import Store

pytestmark = pytest.mark.timeout(
    600
)  # the first test of a session waits for the retrain that all look at


def test_the_page_has_a_section_for_everything_or_says_why_not(retrained: Retrained) -> None:
    record, stage = retrained.done.reported.record, retrained.done.reported.stage
    assert record["rows_in"] == record["rows_out"] + record["rows_incomplete"]
    assert record["left_out"] == {"failures": "no file of this catalog failed"}
    page = Store(retrained.store).read(stage.path("report.html")).decode()
    assert len(page.encode()) == record["page_bytes"]
    for title in (
        "Table 6 of the thesis",
        "Table 7 of the thesis",
        *(f"Figure {number} of the thesis" for number in (3, 6, 7, 8, 19, 20, 21, 22)),
        "Learning curves",
        "Does a higher similarity mean a related artist?",
        "Nothing to show here: no file of this catalog failed.",
        "2 artists",
    ):
        assert title in page
    for artist in ("Organ Player 3", "Fiddle Player 3"):  # the test artists
        assert f"<h3>{artist}" in page
    assert page.count('<img class="mel"') == 2  # how they sound
    assert record["picture_files"] == 0


def test_mlflow_shows_it(retrained: Retrained) -> None:
    client = mlflow.MlflowClient(retrained.registered.record["tracking_uri"])
    (artifact,) = client.list_artifacts(retrained.registered.record["run_id"], "report")
    assert artifact.path == "report/report.html"
    assert artifact.file_size == retrained.done.reported.record["page_bytes"]


def test_with_other_settings_only_the_report_is_made_anew(retrained: Retrained) -> None:
    config = dataclasses.replace(retrained.config, report=ReportSettings(perplexity=2, examples=1))
    done = evaluate_run(config)
    assert [
        outcome.worked
        for outcome in (done.extracted, done.targeted, *done.models.values(), done.evaluated)
    ] == [False] * 6
    assert done.reported.worked
    assert (
        "with perplexity 2."
        in Store(retrained.store).read(done.reported.stage.path("report.html")).decode()
    )
    files = set(Store(retrained.store).names(done.reported.stage.path("pictures")))
    assert {
        f"{name}.{kind}"
        for name in ("figure-07-year", "figure-19-country", "figure-03-mel")
        for kind in ("png", "svg")
    } <= files
    assert len(files) == done.reported.record["picture_files"]
    assert not evaluate_run(config).worked
