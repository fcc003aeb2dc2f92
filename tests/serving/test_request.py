"""Rows of served requests: what is refused, and that no location outside of the roots is
reached."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from musicrec.benchmarks.recommend import made_recommender
from musicrec.registry.pyfunc import MusicRecommender
from musicrec.serving.request import (
    MAXIMUM_ARTWORK_BYTES,
    MAXIMUM_CHARACTERS,
    RequestError,
    admitted,
    read_query,
)

# What the recommender of these tests reads.
GOOD = {"year": 1700.0, "latitude": 48.2, "longitude": 16.4}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "allowed root"
    folder.mkdir()
    (folder / "song.mp3").write_bytes(b"x")
    (tmp_path / "secret").write_bytes(b"root:x:0")
    (folder / "link").symlink_to(tmp_path / "secret")
    return folder


def test_a_file_under_a_root_is_admitted_in_any_spelling(root: Path) -> None:
    song = str(root / "song.mp3")
    spellings = (song, (root / "song.mp3").as_uri(), f"{root}/./x/../song.mp3", f"FILE://{song}")
    assert [admitted("audio_uri", uri, [str(root)]) for uri in spellings] == [song] * 4
    assert admitted("audio_uri", "s3://b/music/a.mp3", ["s3://b/music/"]) == "s3://b/music/a.mp3"


@pytest.mark.parametrize(
    "uri",
    [
        *("{root}/../secret", "{root}/link", "file://{root}/%2e%2e/secret", "{root}", "secret"),
        *(
            "{root}x/song.mp3",
            "/etc/passwd",
            "/nowhere",
            "file:///etc/passwd",
            "file://host/{root}/a",
        ),
        *("s3://b/other/a.mp3", "s3://b/music/../other/a", "s3://b/music/%2e%2e/other/a"),
        *("s3://b@c/music/a", "s3://b", "s3://", "s3://b/musicx/a", "http://b/music/a", "foo://x"),
        *("gs://b/music/a", "\x00", "{root}/\x00", "", "file://", "ftp://{root}/song.mp3"),
    ],
)
def test_any_other_location_is_refused_with_one_text(uri: str, root: Path) -> None:
    with pytest.raises(RequestError) as caught:
        admitted("audio_uri", uri.format(root=root), [str(root), "s3://b/music"])
    assert str(caught.value) == (
        "audio_uri is not under a location that this server allows (MUSICREC_SERVED_ROOTS)"
    )


def test_no_location_is_allowed_unless_it_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUSICREC_SERVED_ROOTS", raising=False)
    with pytest.raises(RequestError, match=r"this server allows no locations \(MUSICREC_SERVED_RO"):
        read_query({"audio_uri": "/etc/passwd"})
    monkeypatch.setenv("MUSICREC_SERVED_ROOTS", "/music, s3://b/music")
    assert read_query({"audio_uri": "/music/a.mp3"}).audio == "/music/a.mp3"


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"audoi": "x"}, "unknown field 'audoi'; fields are audio, audio_uri"),
        ({}, "the row has no known field"),
        ({"year": float("nan"), "lyrics": ""}, "the row has no known field"),
        ({"audio": "%"}, "audio is not base64"),
        ({"audio": 3}, "audio is int; give the bytes of a file"),
        ({"artwork": "A" * (MAXIMUM_ARTWORK_BYTES * 2)}, "artwork has 33,554,432 bytes"),
        ({"year": True}, "year is no number"),
        ({"year": 10**400}, "year is no number"),
        ({"lyrics": 3}, "lyrics is int; give text"),
        ({"lyrics": "x" * (MAXIMUM_CHARACTERS + 1)}, "lyrics has 100,001 characters"),
        ({"year": 99999}, "year is 99999; give 900 to 2100"),
        ({"year": "old"}, "year is no number"),
        ({"year": float("inf")}, "year is inf; give 900 to 2100"),
        ({"latitude": 151.2, "longitude": -33.9}, "latitude is 151.2; give -90 to 90"),
        ({"longitude": 181}, "longitude is 181; give -180 to 180"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(row: dict, error: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_query(row)
    assert str(caught.value).startswith(error)


@pytest.fixture(scope="module")
def served() -> MusicRecommender:
    model = MusicRecommender()
    model.recommender = made_recommender(50, np.random.default_rng(0))
    model.recommender.features = ["mfcc"]  # it decodes audio, although no branch reads it
    return model


def test_every_row_has_its_answer_in_order(
    served: MusicRecommender, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSICREC_SERVED_ROOTS", str(root))
    rows = pd.DataFrame(
        [
            GOOD,
            {"audio_uri": "/etc/passwd"},
            {"audio_uri": str(root / "song.mp3")},
            {"audio": b"root:x:0"},
            {"year": 99999.0},
            GOOD,
        ]
    )
    answers = served.predict(None, rows, {"k": 3})
    assert [len(ids) for ids in answers["artist_id"]] == [3, 0, 0, 0, 0, 3]
    assert answers["error"].tolist()[2:4] == ["not_audio: the audio cannot be read"] * 2
    assert not any("root:x" in error or str(root) in error for error in answers["error"])


def test_rows_without_a_known_column_are_answered(served: MusicRecommender) -> None:
    answers = served.predict(None, pd.DataFrame(index=range(2)))
    assert len(answers) == 2
    assert all("no known field" in error for error in answers["error"])


@pytest.mark.parametrize("k", [0, -1, 1001, 1.5, float("nan")])
def test_a_number_of_artists_out_of_range_is_one_sentence(
    served: MusicRecommender, k: float
) -> None:
    with pytest.raises(MlflowException, match=r"^INVALID_PARAMETER_VALUE: k |^k ") as caught:
        served.predict(None, pd.DataFrame([GOOD]), {"k": k})
    assert caught.value.get_http_status_code() == 400


def test_a_read_that_hangs_is_the_error_of_its_row(
    served: MusicRecommender, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(root / "pipe.mp3")
    monkeypatch.setenv("MUSICREC_SERVED_ROOTS", str(root))
    monkeypatch.setenv("MUSICREC_SERVED_SECONDS", "0.5")
    rows = pd.DataFrame([{"audio_uri": str(root / "pipe.mp3")}, GOOD])
    hanging, good = served.predict(None, rows)["error"]
    assert hanging == "timed_out: not answered within 0.5 s"
    assert good == ""
