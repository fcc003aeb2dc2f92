"""Batch recommendation: every query is once in the answers or the errors, after a kill too."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from small_catalog import files_under
from small_run import Retrained, run_job_here, start_job

from musicrec import schema
from musicrec.storage.store import Store
from musicrec.training.predictions import read_predictions

# The first test of a session waits for the retrain that all tests use.
pytestmark = pytest.mark.timeout(600)


def answers(out: Path) -> list[dict[str, Any]]:
    return schema.conform(
        pyarrow.parquet.read_table(out / "recommendations"), schema.RECOMMENDATIONS, "answers"
    ).to_pylist()


def errors(out: Path) -> list[dict[str, Any]]:
    return schema.conform(
        pyarrow.parquet.read_table(out / "errors.parquet"), schema.ERRORS, "errors"
    ).to_pylist()


def test_a_folder_gets_answers_and_its_broken_file_an_error(
    retrained: Retrained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, out = tmp_path / "music", tmp_path / "answers"
    shutil.copytree(Path(retrained.config.catalog) / "audio", folder / "deeper")
    (folder / "broken.mp3").write_bytes(b"")
    (folder / "notes.txt").write_text("ignored")
    arguments = [
        "--store",
        retrained.store,
        "--folder",
        str(folder),
        "--out",
        str(out),
        "--rows-per-block",
        "10",
    ]
    assert run_job_here(monkeypatch, "recommend", *arguments, "--neighbours", "3") == 0
    files = sorted(str(path) for path in (folder / "deeper").iterdir())
    assert [(row["query"], row["rank"]) for row in answers(out)] == [
        (name, rank) for name in files for rank in (1, 2, 3)
    ]
    (error,) = errors(out)
    assert (error["track_id"], error["stage"], error["reason"]) == (
        str(folder / "broken.mp3"),
        "recommend",
        "empty",
    )

    before = files_under(str(out))
    assert run_job_here(monkeypatch, "recommend", *arguments, "--neighbours", "3") == 0
    assert "already complete, nothing to do" in capsys.readouterr().out
    assert run_job_here(monkeypatch, "recommend", *arguments, "--neighbours", "4") == 2
    assert "is for other recommendations: neighbours 3 (now 4)" in capsys.readouterr().err
    assert files_under(str(out)) == before


def test_a_catalog_gets_the_predictions_of_the_ensemble_from_stored_features(
    retrained: Retrained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, audio = tmp_path / "answers", Path(retrained.config.catalog) / "audio"
    arguments = [
        "--store",
        retrained.store,
        "--catalog",
        retrained.config.catalog,
        "--neighbours",
        "1",
    ]
    audio.rename(tmp_path / "audio")  # stored features are enough
    try:
        assert run_job_here(monkeypatch, "recommend", *arguments, "--out", str(out)) == 0
        undecoded = tmp_path / "undecoded"
        assert (
            run_job_here(
                monkeypatch,
                "recommend",
                *arguments,
                "--out",
                str(undecoded),
                "--no-stored-features",
            )
            == 0
        )
    finally:
        (tmp_path / "audio").rename(audio)
    rows = answers(out)
    assert errors(out) == []
    assert {row["query"] for row in rows} == retrained.catalog.track_ids()
    store, names = Store(retrained.store), [row["query"] for row in rows]
    embeddings = store.read_table(
        retrained.done.targeted.stage.path("embeddings.parquet"), schema.EMBEDDINGS
    )
    table = np.stack(embeddings.column("vector").to_numpy())
    predicted = read_predictions(
        store, retrained.done.models["recommendation"].record["predictions"], names, 8
    )
    cosines = (
        (predicted @ table.T)
        / np.linalg.norm(predicted, axis=1)[:, None]
        / np.linalg.norm(table, axis=1)
    )
    np.testing.assert_allclose([row["similarity"] for row in rows], cosines.max(axis=1), atol=1e-3)
    assert {row["reason"] for row in errors(undecoded)} == {"not_found"}
    assert len(errors(undecoded)) == len(names)


@pytest.mark.slow
def test_a_killed_recommendation_is_continued(
    retrained: Retrained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tmp_path / "music", tmp_path / "answers"
    for copy in range(4):
        shutil.copytree(Path(retrained.config.catalog) / "audio", folder / str(copy))
    tracks = len(list(folder.rglob("*.*")))
    arguments = [
        "--store",
        retrained.store,
        "--folder",
        str(folder),
        "--out",
        str(out),
        "--rows-per-block",
        "2",
        "--neighbours",
        "2",
    ]
    driver = start_job(tmp_path / "driver.log", "recommend", *arguments, "--ray.num-cpus", "2")
    try:
        driver.wait_until(lambda: len(list(out.glob("blocks/parts/*.parquet"))) >= 2)
        driver.kill_first()
    finally:
        driver.kill()
    done = {path: path.stat().st_mtime_ns for path in out.glob("blocks/parts/*.parquet")}
    assert len(done) < tracks // 4  # it was killed before most blocks
    assert run_job_here(monkeypatch, "recommend", *arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in done} == done
    counts = Counter((row["query"], row["rank"]) for row in answers(out))
    assert set(counts.values()) == {1}
    assert len(counts) == 2 * tracks
    assert errors(out) == []
