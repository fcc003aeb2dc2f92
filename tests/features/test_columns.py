from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from musicrec.audio import FEATURE_SHAPES, FEATURES, extract_features, load_audio
from musicrec.extraction.manifest import MANIFEST
from musicrec.features import codec
from musicrec.features.columns import (
    HALVED_STATISTICS,
    AudioReader,
    stored_columns,
)
from musicrec.features.reader import decode_feature, read_columns
from musicrec.features.standardise import halved_statistics

ALL = ("stft", "mel", "cqt", "chroma", "mfcc")
# float16 has steps of at most 2^-4 dB under 128 dB; the MFCC coefficients reach further and have
# relative steps.
TOLERANCE = {"atol": 0.032, "rtol": 5e-4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a clip of falling tones and noise, one of silence, a short one, and a text."""
    folder = tmp_path_factory.mktemp("audio")
    seconds = np.arange(30 * 22050) / 22050
    sound = 0.3 * np.sin(2 * np.pi * (880 - 10 * seconds) * seconds) + 0.01 * np.random.default_rng(
        0
    ).standard_normal(len(seconds))
    soundfile.write(folder / "good.flac", sound, 22050)
    soundfile.write(folder / "silent.flac", np.zeros((30 * 44100, 2)), 44100)
    soundfile.write(folder / "short.flac", sound[: 5 * 22050], 22050)
    (folder / "text.mp3").write_text("not audio at all " * 20)
    return folder


def rows_of(folder: Path, names: list[str], columns: tuple[str, ...]) -> pa.Table:
    rows = [
        {"block": "0", "item": name, "uri": str(folder / name), "columns": list(columns)}
        for name in names
    ]
    return pa.Table.from_pylist(rows, schema=MANIFEST)


@pytest.fixture(scope="module")
def read(folder: Path) -> pa.Table:
    names = ["good.flac", "text.mp3", "none.mp3", "short.flac", "silent.flac"]
    return AudioReader("float16", "librosa", 29.0)(rows_of(folder, names, ALL))


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, np.ndarray]:
    return extract_features(load_audio(str(folder / "good.flac")))


def test_the_lower_half_is_not_stored_with_the_whole() -> None:
    assert stored_columns(FEATURES) == ALL
    assert stored_columns(("stft_halved", "mel")) == ("stft_halved", "mel")
    assert read_columns("stft_halved", ("track_id", "stft")) == ["stft"]
    assert read_columns("stft_halved", ("track_id", "stft_halved")) == [
        "stft_halved",
        *HALVED_STATISTICS,
    ]
    assert read_columns("mel", ("mel",)) == ["mel"]


def test_every_row_comes_out_in_order_with_its_reason(read: pa.Table) -> None:
    assert read.schema == AudioReader("float16", "librosa", 29.0).schema(list(ALL))
    assert read.column("track_id").to_pylist() == [
        "good.flac",
        "text.mp3",
        "none.mp3",
        "short.flac",
        "silent.flac",
    ]
    assert read.column("reason").to_pylist() == [None, "not_audio", "not_found", "too_short", None]
    for uri, why, detail in zip(
        *(read.column(name).to_pylist() for name in ("audio", "reason", "detail")), strict=True
    ):
        assert (why is None) == (detail is None)
        assert why is None or Path(uri).name in detail
    for name in ALL:
        assert [cell is None for cell in read.column(name).to_pylist()] == [
            False,
            True,
            True,
            True,
            False,
        ]


def test_the_decoders_facts_are_kept(read: pa.Table) -> None:
    first, *_, last = read.to_pylist()
    assert (
        first["duration_seconds"],
        first["sample_rate"],
        first["channels"],
        first["silent"],
    ) == (pytest.approx(30), 22050, 1, False)
    assert (last["duration_seconds"], last["sample_rate"], last["channels"], last["silent"]) == (
        pytest.approx(30),
        44100,
        2,
        True,
    )
    assert first["codec"]
    assert read.column("duration_seconds").to_pylist()[1] is None


@pytest.mark.parametrize("name", FEATURES)
def test_a_stored_feature_is_what_was_extracted(
    read: pa.Table, expected: dict[str, np.ndarray], name: str
) -> None:
    decoded = decode_feature(read, name)
    assert [value is None for value in decoded] == [False, True, True, True, False]
    feature, statistics = decoded[0]
    assert feature.shape == FEATURE_SHAPES[name]
    np.testing.assert_allclose(feature, expected[name], **TOLERANCE)
    assert (statistics is not None) == (name == "stft_halved")


def test_a_lower_half_has_the_whole_frames_statistics(
    folder: Path, read: pa.Table, expected: dict[str, np.ndarray]
) -> None:
    halved_only = AudioReader("float16", "librosa", 29.0)(
        rows_of(folder, ["good.flac", "text.mp3"], ("stft_halved",))
    )
    assert "stft" not in halved_only.column_names
    (feature, statistics), failed = decode_feature(halved_only, "stft_halved")
    assert failed is None
    np.testing.assert_allclose(feature, expected["stft_halved"], **TOLERANCE)
    exact = halved_statistics(expected["stft"])
    for stored, from_whole, expected_row in zip(
        statistics, decode_feature(read, "stft_halved")[0][1], exact, strict=True
    ):
        # float32, of the values before they were rounded.
        np.testing.assert_array_equal(stored, expected_row)
        np.testing.assert_allclose(from_whole, expected_row, atol=5e-3)


def test_uint8_keeps_the_features_to_one_step(
    folder: Path, expected: dict[str, np.ndarray]
) -> None:
    read = AudioReader("uint8", "librosa", 29.0)(rows_of(folder, ["good.flac"], ("mel", "chroma")))
    assert codec.describe(read.schema.field("mel")) == (FEATURE_SHAPES["mel"], "uint8")
    assert len(read.column("mel")[0].as_py()) == 256 * 643 + 8
    np.testing.assert_allclose(
        decode_feature(read, "mel")[0][0], expected["mel"], atol=80 / 255 / 2 + 1e-3
    )


def test_the_minimum_duration_is_a_setting(folder: Path) -> None:
    read = AudioReader("float16", "librosa", 4.5)(rows_of(folder, ["short.flac"], ("chroma",)))
    assert read.column("reason").to_pylist() == [None]


def test_the_parameters_hash_tells_features_apart() -> None:
    readers = [
        AudioReader("float16", "librosa", 29.0),
        AudioReader("uint8", "librosa", 29.0),
        AudioReader("float16", "folded", 29.0),
    ]
    assert len({reader.parameters() for reader in readers}) == 3
    # The shortest clip decides which rows there are, never a value.
    assert AudioReader("float16", "librosa", 1.0).parameters() == readers[0].parameters()


def test_every_row_has_its_parameters(read: pa.Table) -> None:
    assert set(read.column("parameters").to_pylist()) == {
        AudioReader("float16", "librosa", 29.0).parameters()
    }
