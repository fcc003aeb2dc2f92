"""Decoding against librosa.load: formats, offsets, rates, channels and sources of bytes."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys

import librosa
import numpy as np
import pytest
import soundfile
from sound import DATA, compose

from musicrec.audio import Limits, decode, load_audio
from musicrec.audio.container import frame_length
from musicrec.audio.streams import mix_down

FORMATS = ("mp3", "flac", "ogg", "opus", "wav", "aiff")


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    ("offset", "duration", "rate"),
    [(0.0, None, 22_050), (0.25, 0.3, 22_050), (0.0, None, None), (0.1, None, 16_000)],
)
def test_every_sample_equals_librosa(suffix, offset, duration, rate):
    path = DATA / f"chord.{suffix}"
    expected, _ = librosa.load(path, sr=rate, offset=offset, duration=duration)
    samples = load_audio(path, rate, offset, duration)
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, expected)


@pytest.mark.parametrize("suffix", FORMATS)
def test_golden_samples(suffix):
    golden = np.load(DATA / "decoded.npz")[suffix]
    np.testing.assert_allclose(load_audio(DATA / f"chord.{suffix}")[::8], golden, atol=1e-5)


def test_long_mp3_spans_many_blocks(tmp_path):
    path = tmp_path / "long.mp3"
    soundfile.write(path, compose(9.0, 44_100), 44_100, format="MP3")
    np.testing.assert_array_equal(load_audio(path), librosa.load(path)[0])


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_rates_and_channels(tmp_path, rate, channels):
    path = tmp_path / "recording.wav"
    soundfile.write(
        path,
        np.tile(compose(0.5, rate), 3)[:, :channels] * np.linspace(0.5, 1, channels),
        rate,
        subtype="FLOAT",
    )
    audio = decode(path)
    np.testing.assert_allclose(
        audio.samples, librosa.load(path)[0], rtol=0, atol=1e-7 if channels == 6 else 0
    )
    assert (audio.native_sample_rate, audio.channels, audio.sample_rate) == (rate, channels, 22_050)
    assert audio.duration_seconds == pytest.approx(0.5, abs=1 / rate)


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 8])
def test_mix_down_is_the_mean(channels):
    frames = np.random.default_rng(channels).standard_normal((1000, channels)).astype(np.float32)
    mixed = np.empty(1000, dtype=np.float32)
    mix_down(frames, mixed)
    np.testing.assert_allclose(mixed, frames.mean(axis=1), atol=2e-7)
    if channels <= 2:
        np.testing.assert_array_equal(mixed, frames.mean(axis=1))


@pytest.mark.parametrize("suffix", ["m4a", "aac"])
def test_aac_through_pyav(suffix):
    """Compare with the original, since AAC is lossy and delays by at most a frame of 1,024 samples.

    The music is present at its level, averaged and not summed.
    """
    audio = decode(DATA / f"chord.{suffix}")
    assert (audio.codec, audio.channels, audio.native_sample_rate) == ("aac", 2, 44_100)
    assert audio.duration_seconds == pytest.approx(0.8, abs=0.1)
    original = librosa.resample(
        compose(0.8, 44_100, seed=4).mean(axis=1), orig_sr=44_100, target_sr=22_050
    )
    correlation = np.correlate(audio.samples, original[: len(original) - 3000], mode="valid")
    delay = int(correlation.argmax())
    assert delay <= 2048
    aligned = audio.samples[delay : delay + len(original) - 3000]
    assert np.corrcoef(aligned, original[: len(aligned)])[0, 1] > 0.98
    assert np.std(aligned) == pytest.approx(np.std(original[: len(aligned)]), rel=0.05)


def test_aac_offset_and_duration():
    whole = load_audio(DATA / "chord.m4a", None)
    part = load_audio(DATA / "chord.m4a", None, 0.2, 0.3)
    np.testing.assert_array_equal(part, whole[int(0.2 * 44_100) :][: int(0.3 * 44_100)])


def test_path_uri_and_bytes_give_the_same_samples(tmp_path):
    path = tmp_path / "a name with spaces & 100%.mp3"
    shutil.copy(DATA / "chord.mp3", path)
    expected = load_audio(path)
    for source in (
        str(path),
        path.as_uri(),
        path.read_bytes(),
        bytearray(path.read_bytes()),
        memoryview(path.read_bytes()),
    ):
        np.testing.assert_array_equal(load_audio(source), expected)


def test_object_storage(s3_server):
    import boto3

    boto3.client("s3", endpoint_url=s3_server.endpoint).put_object(
        Bucket=s3_server.bucket, Key="a/chord.mp3", Body=(DATA / "chord.mp3").read_bytes()
    )
    np.testing.assert_array_equal(
        load_audio(f"s3://{s3_server.bucket}/a/chord.mp3"), load_audio(DATA / "chord.mp3")
    )


def test_without_memory_files(monkeypatch):
    """Read bytes through Python if the system has no memfd_create (macOS)."""
    monkeypatch.delattr("os.memfd_create")
    data = (DATA / "chord.ogg").read_bytes()
    np.testing.assert_array_equal(load_audio(data), load_audio(DATA / "chord.ogg"))
    np.testing.assert_array_equal(
        load_audio((DATA / "chord.m4a").read_bytes()), load_audio(DATA / "chord.m4a")
    )


def test_file_name_is_ignored(tmp_path):
    path = tmp_path / "really_flac.mp3"
    shutil.copy(DATA / "chord.flac", path)
    audio = decode(path)
    assert (audio.container, audio.codec) == ("flac", "pcm_16")
    np.testing.assert_array_equal(audio.samples, load_audio(DATA / "chord.flac"))


def test_tags_before_and_after_an_mp3():
    data = (DATA / "chord.mp3").read_bytes()
    tagged = b"ID3\x04\x00\x00\x00\x00\x08\x00" + bytes(1024) + data + b"TAG" + bytes(125)
    np.testing.assert_array_equal(load_audio(tagged), load_audio(data))


@pytest.mark.parametrize("rubbish", [bytes(500), b"\r\n", b"\xff\x00rubbish" * 300])
@pytest.mark.parametrize("counted", [True, False])
def test_rubbish_before_an_mp3(rubbish, counted):
    data = (DATA / "chord.mp3").read_bytes()
    clean = data if counted else data[frame_length(data, 0) :]
    np.testing.assert_array_equal(load_audio(rubbish + clean), load_audio(clean))


def test_silence_is_flagged():
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(44_100), 44_100, format="FLAC")
    assert decode(buffer.getvalue()).silent
    assert not decode(DATA / "chord.mp3").silent


def test_duration_limits_what_is_read(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(8_000 * 20, dtype=np.float32), 8_000)
    assert decode(path, duration=5.0, limits=Limits(max_seconds=10)).duration_seconds == 5.0


def test_wrong_arguments():
    with pytest.raises(ValueError, match="offset=-1"):
        load_audio(DATA / "chord.mp3", offset=-1)
    with pytest.raises(ValueError, match="duration=0"):
        load_audio(DATA / "chord.mp3", duration=0)


def test_aac_without_pyav():
    code = (
        "import sys; sys.modules['av'] = None\n"
        "from musicrec.audio import load_audio\n"
        f"load_audio({str(DATA / 'chord.mp3')!r})\n"
        f"load_audio({str(DATA / 'chord.m4a')!r})"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "unreadable" in result.stderr
    assert "chord.m4a is AAC or M4A: install musicrec[aac]" in result.stderr
