"""Every job on a finished run whose catalog, store and model are on S3."""

from __future__ import annotations

import csv
import io
import json
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_catalog import files_under
from small_run import REPOSITORY, Retrained, tiny_yaml

from musicrec import schema
from musicrec.config.load import preset
from musicrec.storage.store import Store, resolve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
]  # the first test of a session waits for the retrain that all look at

SPACE = """
architecture: large_rnn
search:
  time_mask: {choice: [0.0, 0.1]}
"""


@dataclass(frozen=True)
class Place:
    """A finished run, and a root beside its store for what the jobs write elsewhere."""

    run: Retrained
    settings: Path
    root: str

    def job(self, name: str, *arguments: str) -> None:
        """Run a job with the run's configuration as from its command line."""
        self.call(name, "--config", str(self.settings), *arguments)

    def call(self, name: str, *arguments: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [f"{name}.py", *arguments])
            patch.setattr(sys, "path", [str(REPOSITORY / "jobs"), *sys.path])
            runpy.run_path(str(REPOSITORY / "jobs" / f"{name}.py"), run_name="__main__")

    def read(self, name: str) -> io.BytesIO:
        filesystem, path = resolve(f"{self.root}/{name}")
        with filesystem.open_input_file(path) as stream:
            return io.BytesIO(stream.read())


@pytest.fixture(scope="module")
def place(
    retrained_on_s3: Retrained, s3_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Place:
    """Everything on S3; the other tests run the jobs over folders."""
    run, folder = retrained_on_s3, tmp_path_factory.mktemp("jobs")
    settings = folder / "tiny.yaml"
    # Part of what decides a registration, so unchanged.
    uri = run.config.registry.tracking_uri or "null"
    registry = f"registry: {{tracking_uri: {uri}, require_baseline: false}}\n"
    settings.write_text(tiny_yaml(run.store, run.config.catalog) + registry)
    return Place(run, settings, s3_server.fresh())


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")
    ]


@pytest.mark.parametrize(
    "job", ["extract", "embed_artists", "train", "ensemble", "evaluate", "retrain"]
)
def test_a_stage_that_is_complete_is_found_complete(
    place: Place, job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_under(place.run.store)
    place.job(job)
    events = [line["event"] for line in said(capsys)]
    assert events.count("already complete, nothing to do") >= 1
    assert events[-1] == "done"
    assert files_under(place.run.store) == before


def test_validate(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.job("validate")
    (line,) = (line for line in said(capsys) if line["event"] == "the catalog can be used")
    assert line["tracks"] == 24


def test_plan(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.job("plan", "--no-trainings")
    (line,) = (line for line in said(capsys) if "extraction" in line)
    assert [(part["rows"], part["done"]) for part in line["extraction"]] == [(24, 24), (6, 6)]


def test_status_and_errors(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.call("status", "--store", place.run.store)
    states = {line["stage"]: line["state"] for line in said(capsys) if "state" in line}
    assert set(states.values()) == {"complete"}
    assert {
        "extract",
        "artists",
        "submodels",
        "ensembles",
        "evaluation",
        "registered",
    } <= states.keys()
    place.call("errors", "--store", place.run.store, "--out", f"{place.root}/errors.csv")
    assert list(csv.DictReader(io.TextIOWrapper(place.read("errors.csv")))) == []


def test_recommend(place: Place) -> None:
    tracking, out = place.run.registered.record["tracking_uri"], Store(f"{place.root}/recommended")
    arguments = [
        "--store",
        place.run.store,
        "--catalog",
        place.run.config.catalog,
        "--registry.tracking-uri",
        tracking,
    ]
    place.call("recommend", *arguments, "--out", out.root, "--neighbours", "2")
    names = [f"recommendations/{name}" for name in out.names("recommendations")]
    rows = [
        row for name in names for row in out.read_table(name, schema.RECOMMENDATIONS).to_pylist()
    ]
    tracks = place.run.catalog.track_ids()
    assert {(row["query"], row["rank"]) for row in rows} == {
        (track, rank) for track in tracks for rank in (1, 2)
    }
    assert out.read_table("errors.parquet", schema.ERRORS).num_rows == 0


def test_tune(place: Place, tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(SPACE)
    place.job(
        "tune",
        "--submodel",
        "mfcc.large_rnn",
        "--space",
        str(space),
        "--trials",
        "1",
        "--registry.experiment",
        "jobs",
    )
    store = Store(place.run.store)
    (key,) = store.folders("searches")
    record = store.stage("searches", key).success()
    assert [(row["number"], row["state"]) for row in record["rows"]] == [(1, "trained")]
    assert preset(record["preset"]).store == place.run.store


def test_inspect_audio(place: Place) -> None:
    catalog = place.run.config.catalog
    with pytest.raises(SystemExit) as ended:
        place.call(
            "inspect_audio",
            f"{catalog}/{place.run.catalog.tracks[0]['audio']}",
            "--out",
            f"{place.root}/pictures",
        )
    assert ended.value.code == 0
    assert place.read("pictures/mel.png").read(8) == b"\x89PNG\r\n\x1a\n"
