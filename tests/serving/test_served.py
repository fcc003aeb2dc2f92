"""Requests to MLflow's scoring server: every row gets an answer or its own error."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server

from musicrec.registry import package
from musicrec.serving.example import example_row
from musicrec.serving.request import MAXIMUM_ROWS

MODEL = """
import mlflow, numpy
from musicrec.artists.ranking import Ranking, relation_matrix
from musicrec.benchmarks.recommend import made_recommender
from musicrec.registry.pyfunc import MusicRecommender

class Small(MusicRecommender):
    def load_context(self, context):
        self.recommender = made_recommender(50, numpy.random.default_rng(0))
        self.recommender.features = ["mfcc"]  # it decodes audio, although no branch reads it
        # All artists name artist 7, and popularity outweighs everything.
        pairs = numpy.array([range(50), [7] * 50])
        self.recommender.ranking = Ranking(
            {"votes": 0.0, "popularity": 100.0},
            1,
            self.recommender.table[:1],
            numpy.array([0]),
            relation_matrix(pairs, 50),
        )

mlflow.models.set_model(Small())
"""
GOOD = {"year": 1950.0, "latitude": 48.2, "longitude": 16.4}
SECRET = "root:x:0:0"
NOT_ALLOWED = "is not under a location that this server allows (MUSICREC_SERVED_ROOTS)"


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> mlflow.pyfunc.PyFuncModel:
    """Return a small model with the signature of registered ones, saved and loaded by MLflow."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "small.py").write_text(MODEL)
    example, answer = pd.DataFrame([example_row()]), package.output_example(4)
    signature = mlflow.models.infer_signature(example, answer, params=package.PARAMETERS)
    mlflow.pyfunc.save_model(
        folder / "model",
        python_model=str(folder / "small.py"),
        signature=package._without_inputs(signature),
        pip_requirements=["mlflow"],
    )
    return mlflow.pyfunc.load_model(str(folder / "model"))


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Allow one folder, next to which there is a file that no request may read."""
    folder = tmp_path / "music"
    folder.mkdir()
    (tmp_path / "secret").write_text(SECRET)
    (folder / "notes.mp3").write_text(SECRET)
    (folder / "link.mp3").symlink_to(tmp_path / "secret")
    monkeypatch.setenv("MUSICREC_SERVED_ROOTS", str(folder))
    return folder


def send(model: mlflow.pyfunc.PyFuncModel, body: Any) -> tuple[int, Any]:
    schema = model.metadata.get_input_schema()
    body = body if isinstance(body, str) else json.dumps(body)
    try:
        answer = scoring_server.invocations(body, "application/json", model, schema)
    except MlflowException as error:
        return error.get_http_status_code(), json.loads(error.serialize_as_json())
    return answer.status, json.loads(answer.response)


def errors(model: mlflow.pyfunc.PyFuncModel, rows: list[Any]) -> list[str]:
    """Return the errors of the answers to the rows."""
    status, answer = send(model, {"dataframe_records": rows, "params": {"k": 3}})
    assert status == 200
    assert SECRET[:6] not in json.dumps(answer)
    for row in answer["predictions"]:
        assert len(row["artist_id"]) == (0 if row["error"] else 3)
    return [row["error"] for row in answer["predictions"]]


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"audio_url": "/a.mp3"}, "unknown field 'audio_url'"),
        (GOOD | {"latitud": 1}, "unknown field 'latitud'"),
        ({}, "the row has no known field"),
        ({"year": None}, "the row has no known field"),
        ({"year": 1950.0}, "this model needs all of its inputs, and the query lacks location"),
        ({"lyrics": "x"}, "this model needs all of its inputs, and the query lacks location, year"),
        ({"year": "old"}, "year is no number"),
        ({"year": [1]}, "year is no number"),
        ({"year": {}}, "year is no number"),
        ({"year": 10**400}, "year is no number"),
        (GOOD | {"year": 99999}, "year is 99999; give 900 to 2100"),
        (GOOD | {"latitude": 116.4, "longitude": 39.9}, "latitude is 116.4; give -90 to 90"),
        ({"lyrics": {"a": 1}}, "lyrics is dict; give text"),
        ({"lyrics": "x" * 100_001}, "lyrics has 100,001 characters"),
        ({"audio": "%%%"}, "audio is not base64"),
        ({"audio": {}}, "audio is dict"),
        ({"audio": base64_of(SECRET.encode())}, "not_audio: the audio cannot be read"),
        ({"audio": base64_of(b"ID3")}, "not_audio: the audio cannot be read"),
        ({"audio_uri": ["/etc/passwd"]}, "audio_uri is list; give text"),
        ({"audio_uri": "/etc/passwd"}, f"audio_uri {NOT_ALLOWED}"),
        ({"audio_uri": "/nowhere/at/all"}, f"audio_uri {NOT_ALLOWED}"),
        ({"audio_uri": "{root}/link.mp3"}, f"audio_uri {NOT_ALLOWED}"),
        ({"audio_uri": "{root}/../secret"}, f"audio_uri {NOT_ALLOWED}"),
        ({"audio_uri": "file://{root}/%2e%2e/secret"}, f"audio_uri {NOT_ALLOWED}"),
        ({"audio_uri": "FILE:///proc/self/environ"}, f"audio_uri {NOT_ALLOWED}"),
        ({"audio_uri": "http://127.0.0.1:9/x.mp3"}, f"audio_uri {NOT_ALLOWED}"),
        ({"audio_uri": "foo://x"}, f"audio_uri {NOT_ALLOWED}"),
        ({"audio_uri": "s3://bucket"}, f"audio_uri {NOT_ALLOWED}"),
        ({"audio_uri": "gs://bucket/x.mp3"}, f"audio_uri {NOT_ALLOWED}"),
        ({"artwork_uri": "/etc/passwd"}, f"artwork_uri {NOT_ALLOWED}"),
        ({"audio_uri": "x" * 100_000}, f"audio_uri {NOT_ALLOWED}"),
        ({"audio_uri": "{root}/notes.mp3"}, "not_audio: the audio cannot be read"),
        ({"audio_uri": "{root}/absent.mp3"}, "not_found: the audio cannot be read"),
    ],
)
def test_a_bad_row_costs_no_other_row_its_answer(
    row: dict[str, Any], error: str, model: mlflow.pyfunc.PyFuncModel, roots: Path
) -> None:
    row = {
        name: value.replace("{root}", str(roots)) if isinstance(value, str) else value
        for name, value in row.items()
    }
    first, bad, last = errors(model, [GOOD, row, GOOD])
    assert (first, last) == ("", "")
    assert bad.startswith(error)
    assert errors(model, [row, row]) == [bad, bad]  # no column of the table is a known one


def test_base64_with_line_ends_is_read(model: mlflow.pyfunc.PyFuncModel) -> None:
    sound = base64.encodebytes(example_row()["audio"]).decode()
    assert "\n" in sound
    assert errors(model, [GOOD | {"audio": sound}]) == [""]


def test_no_file_is_read_unless_a_location_is_allowed(
    model: mlflow.pyfunc.PyFuncModel, roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUSICREC_SERVED_ROOTS")
    uris = ["/etc/passwd", "/nowhere", str(roots / "notes.mp3"), "s3://b/x"]
    texts = errors(model, [{"audio_uri": uri} for uri in uris])
    assert set(texts) == {
        "audio_uri is not accepted, since this server allows no locations (MUSICREC_SERVED_ROOTS): "
        "send the file's bytes as audio"
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"dataframe_records": [GOOD], "params": {"k": 0}}, "k is 0; give 1 to 1000"),
        ({"dataframe_records": [GOOD], "params": {"k": 1001}}, "k is 1001; give 1 to 1000"),
        ({"dataframe_records": []}, f"the request has 0 rows; send 1 to {MAXIMUM_ROWS}"),
        ({"inputs": "/etc/passwd"}, "the request is no table; send dataframe_records"),
        ({"dataframe_records": [GOOD] * 1001}, "the request has 1001 rows; send 1 to 1000"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_in_a_sentence(
    body: Any, message: str, model: mlflow.pyfunc.PyFuncModel
) -> None:
    status, answer = send(model, body)
    assert status == 400
    assert answer["message"].endswith(message)
    assert "stack_trace" not in answer


def test_popularity_takes_part_unless_a_request_switches_it_off(
    model: mlflow.pyfunc.PyFuncModel,
) -> None:
    def first(parameters: dict[str, Any]) -> dict[str, Any]:
        status, answer = send(model, {"dataframe_records": [GOOD], "params": parameters})
        assert status == 200
        return answer["predictions"][0]

    popular, plain = first({"k": 50}), first({"k": 50, "popularity": False})
    assert popular["prior"][0] > 0.9
    assert not any(plain["prior"])
    assert plain["similarity"] == sorted(plain["similarity"], reverse=True)
    seventh = popular["artist_id"][0]
    assert plain["artist_id"].index(seventh) > 0
    status, _ = send(model, {"dataframe_records": [GOOD], "params": {"popularity": "no"}})
    assert status == 400
