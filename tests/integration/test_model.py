"""The registered model outside the repository, over HTTP and in jobs/recommend.py; promotion."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pyarrow.parquet
import pytest
from small_catalog import UserCatalog
from small_run import REPOSITORY, Retrained, run_job_here

from musicrec.config.sections import RegistrySettings
from musicrec.pipeline.base import Run
from musicrec.pipeline.catalog import open_run
from musicrec.pipeline.promote import Challenger, promote, score_recommender
from musicrec.pipeline.promote import challenger as challenger_of_run
from musicrec.registry.digests import DamagedModel, write_digests
from musicrec.registry.loading import load_recommender
from musicrec.registry.promotion import load_version
from musicrec.registry.versions import DIGEST_TAG
from musicrec.serving.recommender import Query
from musicrec.storage.store import Store
from musicrec.training.predictions import read_predictions

# The first test of a session waits for the retrain that all tests use.
pytestmark = pytest.mark.timeout(600)

TRACK = "fiddle-3-0"  # a test track, with lyrics, year and place
TEST_TRACKS = ["organ-3-0", "organ-3-1", "fiddle-3-0", "fiddle-3-1"]
FIRST = "models:/musicrec/1"
SECONDS_TO_SERVE = 180  # a bound against hanging: the server imports torch
ASK = """
import base64, json, sys
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
import musicrec, pandas
from musicrec.audio.kernels.fft import transform
compiled = len(transform.signatures)
answers = []
for row in json.load(sys.stdin):
    if "audio" in row:
        row["audio"] = base64.b64decode(row["audio"])
    answers += model.predict(pandas.DataFrame([row]), params={"k": 4}).to_dict(orient="records")
facts = {"code": musicrec.__file__, "path": sys.path, "compiled": compiled}
print(json.dumps({"answers": answers} | facts))
"""


@pytest.fixture(scope="module")
def track(retrained: Retrained) -> dict[str, Any]:
    return next(row for row in retrained.catalog.tracks if row["track_id"] == TRACK)


@pytest.fixture(scope="module")
def audio(retrained: Retrained, track: dict[str, Any]) -> Path:
    return Path(retrained.config.catalog) / track["audio"]


@pytest.fixture(scope="module")
def whole_query(retrained: Retrained, track: dict[str, Any], audio: Path) -> dict[str, Any]:
    """Return all inputs of the track that the catalog has, as JSON."""
    artist = next(
        row for row in retrained.catalog.artists if row["artist_id"] == track["artist_id"]
    )
    values = {"lyrics": track["lyrics"], "year": float(track["year"])}
    place = {name: float(artist[name]) for name in ("latitude", "longitude")}
    return {"audio": base64.b64encode(audio.read_bytes()).decode()} | values | place


@pytest.fixture(scope="module")
def stored(retrained: Retrained) -> np.ndarray:
    """Return the ensemble's stored prediction of the track (D,)."""
    return read_predictions(
        Store(retrained.store),
        retrained.done.models["recommendation"].record["predictions"],
        [TRACK],
        8,
    )[0]


def plain_environment(retrained: Retrained) -> dict[str, str]:
    """Return an environment with the registry and the interpreter's programs only."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")
    }
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return inherited | {
        "PATH": programs,
        "MLFLOW_TRACKING_URI": retrained.registered.record["tracking_uri"],
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MUSICREC_SERVED_ROOTS": str(Path(retrained.config.catalog)),
    }


def test_the_champion_answers_in_a_process_without_the_repository(
    retrained: Retrained,
    whole_query: dict[str, Any],
    stored: np.ndarray,
    audio: Path,
    tmp_path: Path,
) -> None:
    queries = [
        whole_query,
        {"audio_uri": str(audio)},
        {"year": 1700.0},
        {"lyrics": "?"},
        {"audio": base64.b64encode(b"no music").decode(), "year": 1700.0},
    ]
    # -P: the working folder is not on its path either
    finished = subprocess.run(
        [sys.executable, "-P", "-c", ASK, "models:/musicrec@champion"],
        input=json.dumps(queries),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=tmp_path,
        env=plain_environment(retrained),
    )
    assert finished.returncode == 0, finished.stderr
    output = json.loads(finished.stdout.splitlines()[-1])
    whole, uri, year, nothing, broken = output["answers"]
    assert str(REPOSITORY) not in output["path"]
    # The model carries its code.
    assert Path(output["code"]).is_relative_to(Path(retrained.store) / "mlflow-artifacts")
    assert output["compiled"]  # as the model is loaded, and not in the time of the first request
    np.testing.assert_allclose(whole["embedding"], stored, atol=1e-3)
    names = {row["artist_id"]: row["name"] for row in retrained.catalog.artists} | {
        "teacher": "teacher"
    }
    for answer in (whole, uri, year):
        assert answer["error"] == ""
        assert len(answer["embedding"]) == 8
        assert answer["artist"] == [names[artist] for artist in answer["artist_id"]]
        assert len(set(answer["artist_id"])) == 4
        assert answer["similarity"] == sorted(answer["similarity"], reverse=True)
        assert all(-1.001 <= value <= 1.001 for value in answer["similarity"])
    assert not np.allclose(uri["embedding"], year["embedding"], atol=1e-3)
    assert nothing["artist_id"] == broken["artist_id"] == []
    assert nothing["error"].startswith(
        "this model needs at least one input, and the query lacks mfcc, location, year (of "
    )
    assert broken["error"] == "not_audio: the audio cannot be read"


@pytest.mark.slow
def test_the_champion_is_served_over_http(
    retrained: Retrained, whole_query: dict[str, Any], stored: np.ndarray, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        "models:/musicrec@champion",
        "--env-manager",
        "local",
    ]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    log = tmp_path / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            env=plain_environment(retrained),
            cwd=tmp_path,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for_ping(server, port, log)
        status, answers = ask(port, [whole_query], {"k": 10})
        assert status == 200
        (answer,) = answers["predictions"]
        check_hostile_requests(port, tmp_path)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    assert answer["error"] == ""
    assert len(answer["artist"]) == len(answer["similarity"]) == 10
    np.testing.assert_allclose(answer["embedding"], stored, atol=1e-3)


def ask(port: int, rows: list[dict[str, Any]], params: dict[str, Any]) -> tuple[int, Any]:
    body = json.dumps({"dataframe_records": rows, "params": params}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def check_hostile_requests(port: int, folder: Path) -> None:
    """Check that each row has its answer, and that none shows what a file of the server holds."""
    secret = folder / "secret.txt"
    secret.write_text("root:x:0:0")
    good = {"year": 1700.0}
    uris = [
        *(str(secret), secret.as_uri(), "/etc/passwd", "file:///etc/passwd", "/nowhere"),
        *(
            "foo://x",
            "s3://bucket",
            "http://127.0.0.1:1/x",
            "s3://127.0.0.1/x",
            "/proc/self/environ",
        ),
    ]
    rows = [good, *({name: uri} for uri in uris for name in ("audio_uri", "artwork_uri")), good]
    status, answers = ask(port, rows, {"k": 3})
    first, *refused, last = answers["predictions"]
    assert (status, first["error"], last["error"]) == (200, "", "")
    assert len(refused) == len(rows) - 2
    assert {answer["error"].split(" ", 1)[1] for answer in refused} == {
        "is not under a location that this server allows (MUSICREC_SERVED_ROOTS)"
    }
    status, answers = ask(port, [{"audoi": "x"}, good], {})
    assert (status, len(answers["predictions"])) == (200, 2)
    assert "unknown field 'audoi'" in answers["predictions"][0]["error"]
    status, answers = ask(port, [{"audoi": "x"}, {"audio_url": "y"}], {})
    assert (status, len(answers["predictions"])) == (200, 2)
    rows = [{"latitude": 120.0, "longitude": 10.0}, {"year": 99999.0}, good]
    _, answers = ask(port, rows, {})
    assert [answer["error"] for answer in answers["predictions"]] == [
        "latitude is 120; give -90 to 90",
        "year is 99999; give 900 to 2100",
        "",
    ]
    for k in (0, -1, 1001):
        status, answer = ask(port, [good], {"k": k})
        assert status == 400
        assert answer["message"].endswith(f"k is {k}; give 1 to 1000")
        assert "stack_trace" not in answer


def wait_for_ping(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_SERVE
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):
                return
        except (OSError, http.client.HTTPException):
            try:
                server.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                continue
            break
    pytest.fail(f"the server did not answer: {log.read_text(errors='replace')[-3000:]}")


def test_one_track_gets_a_table_of_artists(
    retrained: Retrained,
    audio: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [
        "--store",
        retrained.store,
        "--audio",
        str(audio),
        "--year",
        "1790",
        "--neighbours",
        "5",
    ]
    assert run_job_here(monkeypatch, "recommend", *arguments) == 0
    output = capsys.readouterr().out
    for heading in ("artist", "similarity", "genres", "origin", "years"):
        assert heading in output
    rows = [
        line
        for line in output.splitlines()
        if re.search(r"(Player \d|teacher)\s.*-?[01]\.\d{3}", line)
    ]
    assert len(rows) == 5
    similarities = [float(re.search(r"-?[01]\.\d{3}", row)[0]) for row in rows]
    assert similarities == sorted(similarities, reverse=True)


def test_one_track_that_cannot_be_read_is_a_clear_line(
    retrained: Retrained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text.mp3").write_text("this is no music\n" * 50)
    assert (
        run_job_here(
            monkeypatch,
            "recommend",
            "--store",
            retrained.store,
            "--audio",
            str(tmp_path / "text.mp3"),
        )
        == 2
    )
    error = capsys.readouterr().err
    assert "not_audio" in error
    assert "Traceback" not in error


@pytest.fixture
def promotion(
    retrained: Retrained, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Return a run that registers under its own model name in the same registry."""
    # MLflow also writes the URI into the environment, where later tests would find it.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", retrained.registered.record["tracking_uri"])
    mlflow.set_tracking_uri(retrained.registered.record["tracking_uri"])
    settings = RegistrySettings(model=request.node.name, require_baseline=False, margin=0)
    return dataclasses.replace(
        retrained.done.run, config=dataclasses.replace(retrained.config, registry=settings)
    )


def aliases(run: Run) -> dict[str, int]:
    versions = mlflow.MlflowClient().get_registered_model(run.config.registry.model).aliases
    return {name: int(version) for name, version in versions.items()}


def new_version(run: Run, source: str = FIRST) -> int:
    if source.startswith("models:/"):
        return int(
            mlflow.MlflowClient().copy_model_version(source, run.config.registry.model).version
        )
    return int(
        mlflow.MlflowClient().create_model_version(run.config.registry.model, source).version
    )


def challenger(run: Run, score: float, source: str = FIRST) -> Challenger:
    """Register a new version, which has this score with any candidates."""
    artists = [*run.catalog.artists.column("artist_id").to_pylist(), "teacher"]
    return Challenger(
        new_version(run, source), artists, lambda candidates: {"ndcg@5": score, "artists": 2}
    )


def champions_score(run: Run, retrained: Retrained) -> float:
    champion, source = load_version(run.config.registry.model, aliases(run)["champion"])
    return score_recommender(
        run,
        retrained.done.extracted,
        champion,
        source,
        champion.artists.column("artist_id").to_pylist(),
    )["ndcg@5"]


def test_a_worse_version_is_challenger_and_an_equal_one_champion(
    promotion: Run, retrained: Retrained
) -> None:
    assert promote(promotion, retrained.done.extracted, challenger(promotion, 0.1)).champion is None
    assert aliases(promotion) == {"champion": 1}
    measured = champions_score(promotion, retrained)
    worse = promote(promotion, retrained.done.extracted, challenger(promotion, measured - 0.01))
    assert (worse.version, worse.alias, worse.champion.version) == (2, "challenger", 1)
    # The champion is scored again on this run's test artists; its earlier 0.1 is not used.
    assert worse.champion.score == pytest.approx(measured)
    assert "worse than" in worse.sentence()
    assert aliases(promotion) == {"champion": 1, "challenger": 2}
    equal = promote(promotion, retrained.done.extracted, challenger(promotion, measured))
    assert (equal.alias, equal.champion.version) == ("champion", 1)
    assert aliases(promotion) == {"champion": 3, "challenger": 2}


def test_the_champion_is_scored_as_it_was_evaluated(promotion: Run, retrained: Retrained) -> None:
    promote(promotion, retrained.done.extracted, challenger(promotion, 0.1))
    assert champions_score(promotion, retrained) == pytest.approx(
        retrained.done.evaluated.record["ndcg@5"], abs=1e-6
    )


def test_candidates_are_the_artists_of_both_versions(promotion: Run, retrained: Retrained) -> None:
    promote(promotion, retrained.done.extracted, challenger(promotion, 0.1))
    candidates: list[set[str]] = []
    version = new_version(promotion)
    decision = promote(
        promotion,
        retrained.done.extracted,
        Challenger(
            version,
            ["fiddle-0", "newcomer"],
            lambda among: candidates.append({*among}) or {"ndcg@5": 0.0},
        ),
    )
    # All of its artists against the baselines, the shared ones against the champion.
    assert candidates == [{"fiddle-0", "newcomer"}, {"fiddle-0"}]
    assert retrained.done.evaluated.record["ndcg@5"] < 1
    assert decision.champion.score == 1  # one candidate, and it is right
    compared = decision.metrics()
    assert compared["compared_ndcg_at_5"] == 0
    assert compared["compared_ndcg_at_5_of_champion"] == 1
    assert decision.evidence()["by_artist"].keys() == {"version", "champion"}


def test_a_new_version_is_compared_by_its_evaluated_predictions(retrained: Retrained) -> None:
    stacked = retrained.done.stacked
    own = challenger_of_run(
        retrained.done.run, 1, retrained.done.extracted, retrained.done.targeted, stacked.ensemble
    )
    assert own.score(own.artists)["ndcg@5"] == pytest.approx(
        retrained.done.evaluated.record["ndcg@5"]
    )


def test_a_new_version_with_more_segments_is_compared_as_it_is_served(
    promotion: Run, retrained: Retrained
) -> None:
    promote(promotion, retrained.done.extracted, challenger(promotion, 0.1))
    registry = dataclasses.replace(promotion.config.registry, segments=2)
    run = dataclasses.replace(
        promotion, config=dataclasses.replace(promotion.config, registry=registry)
    )
    silent = dataclasses.replace(retrained.done.stacked.ensemble, record={"predictions": []})
    served = challenger_of_run(
        run, aliases(run)["champion"], retrained.done.extracted, retrained.done.targeted, silent
    )
    assert served.score(served.artists)["ndcg@5"] == pytest.approx(
        retrained.done.evaluated.record["ndcg@5"], abs=1e-6
    )


def test_a_champion_is_scored_on_artists_that_are_new_to_it(
    promotion: Run, retrained: Retrained, tmp_path: Path
) -> None:
    catalog: UserCatalog = retrained.catalog.copy()
    catalog.artists.append(catalog.artists[-1] | {"artist_id": "newcomer", "name": "Newcomer"})
    test = next(row for row in catalog.tracks if row["split"] == "test")
    catalog.tracks += [
        test | {"track_id": "newcomer-0", "artist_id": "newcomer"},
        catalog.tracks[0] | {"track_id": "newcomer-1", "artist_id": "newcomer", "split": "test"},
    ]
    catalog.related.append(
        {"artist_id": "newcomer", "related_artist_id": test["artist_id"], "rank": 1}
    )
    run = open_run(dataclasses.replace(promotion.config, catalog=catalog.write(str(tmp_path))))
    promote(run, retrained.done.extracted, challenger(run, 0.5))
    decision = promote(run, retrained.done.extracted, challenger(run, 1.0))
    assert decision.champion.version == 1
    assert 0 <= decision.champion.score <= 1
    assert decision.alias == "champion"


def copied_version(run: Run, folder: Path, tags: dict[str, str] | None = None) -> str:
    """Register a copy of the first version's files, and return its model URI."""
    client, name = mlflow.MlflowClient(), run.config.registry.model
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    version = client.create_model_version(name, str(folder), tags=tags).version
    return f"models:/{name}/{version}"


def test_one_flipped_byte_of_the_weights_is_refused_by_name(
    promotion: Run, tmp_path: Path, audio: Path
) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(FIRST, dst_path=str(tmp_path)))
    settings, store = promotion.config.registry, promotion.store
    assert load_recommender(copied_version(promotion, folder), settings, store).embed(
        Query(audio=str(audio))
    ).shape == (8,)
    (weights,) = folder.rglob("lyrics.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DamagedModel, match=r"lyrics\.safetensors was damaged") as raised:
        load_recommender(copied_version(promotion, folder), settings, store)
    assert hashlib.sha256(content).hexdigest()[:16] in str(raised.value)


def test_digests_changed_with_the_weights_are_refused_by_the_versions_tag(
    promotion: Run, tmp_path: Path
) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(FIRST, dst_path=str(tmp_path)))
    tag = mlflow.MlflowClient().get_model_version("musicrec", "1").tags[DIGEST_TAG]
    (digests,) = folder.rglob("sha256.json")
    assert hashlib.sha256(digests.read_bytes()).hexdigest() == tag
    digests.write_bytes(digests.read_bytes() + b"\n")
    model = copied_version(promotion, folder, {DIGEST_TAG: tag})
    with pytest.raises(DamagedModel, match=r"version 1 of model .* was changed"):
        load_recommender(model, promotion.config.registry, promotion.store)


def test_a_version_older_than_the_digests_loads(promotion: Run, tmp_path: Path) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(FIRST, dst_path=str(tmp_path)))
    (digests,) = folder.rglob("sha256.json")
    digests.unlink()
    model = copied_version(promotion, folder)
    assert load_recommender(model, promotion.config.registry, promotion.store).segments == 1


def test_without_a_champion_recommend_names_the_challenger(
    promotion: Run,
    retrained: Retrained,
    audio: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = dataclasses.replace(promotion.config.registry, require_baseline=True)
    run = dataclasses.replace(
        promotion, config=dataclasses.replace(promotion.config, registry=settings)
    )
    decision = promote(run, retrained.done.extracted, challenger(run, 0.9))
    assert (decision.alias, aliases(run)) == ("challenger", {"challenger": 1})
    assert "comes from 2 test artists, and fewer than 10 say nothing" in decision.sentence()
    model = f"models:/{settings.model}"
    capsys.readouterr()
    arguments = ["--store", retrained.store, "--audio", str(audio), "--model"]
    assert run_job_here(monkeypatch, "recommend", *arguments, f"{model}@champion") == 2
    error = capsys.readouterr().err.strip()
    assert error.splitlines() == [error]
    assert "there is no champion yet; version 1 is challenger" in error
    assert f"--model {model}@challenger" in error
    assert run_job_here(monkeypatch, "recommend", *arguments, f"{model}@challenger") == 0


def test_a_champion_that_recommends_badly_is_replaced(
    promotion: Run, retrained: Retrained, tmp_path: Path
) -> None:
    folder = Path(mlflow.artifacts.download_artifacts(FIRST, dst_path=str(tmp_path)))
    (table,) = folder.rglob("artists.parquet")
    write_worst_artists(table, retrained)
    write_digests(table.parent)  # as if the version had been registered with this table
    mlflow.MlflowClient().create_registered_model(promotion.config.registry.model)
    assert (
        promote(promotion, retrained.done.extracted, challenger(promotion, 1.0, str(folder))).alias
        == "champion"
    )
    decision = promote(promotion, retrained.done.extracted, challenger(promotion, 0.2))
    assert (decision.champion.version, decision.champion.score) == (1, 0.0)
    assert aliases(promotion) == {"champion": 2}


def write_worst_artists(table: Path, retrained: Retrained) -> None:
    """Give the artists related to a test artist the vector opposite to the model's answer."""
    predicted = read_predictions(
        Store(retrained.store),
        retrained.done.models["recommendation"].record["predictions"],
        TEST_TRACKS,
        8,
    )
    units = (
        (predicted / np.linalg.norm(predicted, axis=1, keepdims=True)).reshape(2, 2, 8).mean(axis=1)
    )
    answers = dict(zip(("organ", "fiddle"), units, strict=True))
    artists = pyarrow.parquet.read_table(table)
    schools = [
        name.replace("teacher", "organ").partition("-")[0]
        for name in artists.column("artist_id").to_pylist()
    ]
    vectors = [-answers[school] if school in answers else units.sum(axis=0) for school in schools]
    place = artists.schema.get_field_index("vector")
    column = pyarrow.array(
        [vector.tolist() for vector in vectors], artists.schema.field(place).type
    )
    pyarrow.parquet.write_table(
        artists.set_column(place, artists.schema.field(place), column), table
    )
