"""Every reason for refusing a recording, on files damaged as files are in practice."""

from __future__ import annotations

import io
import pickle
import struct

import librosa
import numpy as np
import pytest
import soundfile
from sound import DATA, compose

from musicrec.audio import AUDIO_ERRORS, AudioError, Limits, decode, load_audio
from musicrec.audio.container import frame_length, inspect


def encode(
    samples: np.ndarray, rate: int = 22_050, container: str = "WAV", subtype: str | None = None
) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
    return buffer.getvalue()


def recording(suffix: str) -> bytes:
    return (DATA / f"chord.{suffix}").read_bytes()


def mpeg_frames(data: bytes) -> list[bytes]:
    frames, position = [], 0
    while length := frame_length(data, position):
        frames.append(data[position : position + length])
        position += length
    return frames


def reason(source: bytes | str, **options: object) -> str:
    with pytest.raises(AudioError) as raised:
        decode(source, **options)
    assert raised.value.detail
    return raised.value.reason


@pytest.mark.parametrize("suffix", ["mp3", "flac", "ogg", "opus", "wav", "aiff", "m4a"])
@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.9])
def test_cut_in_the_middle(suffix, fraction):
    data = recording(suffix)
    assert reason(data[: int(fraction * len(data))]) == "truncated"


@pytest.mark.parametrize("suffix", ["mp3", "flac", "ogg", "opus", "wav", "aiff", "m4a", "aac"])
def test_complete_files_have_no_fault(suffix):
    container = inspect(recording(suffix))
    assert container is not None
    assert container.fault is None


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "wav"])
def test_part_of_a_truncated_file_is_refused(suffix):
    data = recording(suffix)
    assert reason(data[: int(0.7 * len(data))], duration=0.2) == "truncated"


def without_count(mode: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(
        buffer, compose(2.0, 44_100), 44_100, format="MP3", bitrate_mode=mode, compression_level=0.5
    )
    return b"".join(mpeg_frames(buffer.getvalue())[1:])


def test_mp3_without_a_frame_count(tmp_path):
    """Detect truncation inside a frame.

    A file cut between two frames cannot be distinguished from a shorter recording.
    """
    bare = without_count("CONSTANT")
    path = tmp_path / "bare.mp3"
    path.write_bytes(bare)
    np.testing.assert_array_equal(load_audio(path), librosa.load(path)[0])
    assert reason(bare[:-100]) == "truncated"
    frames = mpeg_frames(bare)
    assert decode(b"".join(frames[:20])).duration_seconds == pytest.approx(20 * 1152 / 44_100)


def test_mp3_of_variable_bitrate_without_a_frame_count():
    """Read all of it, although libsndfile estimates 0.9 s from the first frame."""
    bare = without_count("VARIABLE")
    assert soundfile.info(io.BytesIO(bare)).duration < 1.5
    audio = decode(bare)
    assert audio.duration_seconds == pytest.approx(2.0, abs=0.05)
    original = compose(2.0, 44_100).mean(axis=1)
    decoded = load_audio(bare, None)
    correlation = np.correlate(decoded, original[:60_000], mode="valid")
    at = int(correlation.argmax())
    assert np.corrcoef(decoded[at : at + 60_000], original[:60_000])[0, 1] > 0.95
    assert decode(bare, offset=1.8, duration=0.1).duration_seconds == pytest.approx(0.1, abs=1e-4)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000])
def test_wav_of_a_stream_has_no_size(size):
    data = bytearray(encode(compose(0.5)))
    data[40:44] = struct.pack("<I", size)
    assert decode(bytes(data)).duration_seconds == pytest.approx(0.5)


@pytest.mark.parametrize(
    "data",
    [
        b"<html><body>404 Not Found</body></html>" * 50,
        "ünïcödé text\n".encode() * 300,
        bytes(5000),
        b"\xff",
        b"RIFF",
        b"%PDF-1.7" + bytes(999),
    ],
)
def test_not_audio(tmp_path, data):
    path = tmp_path / "song.mp3"
    path.write_bytes(data)
    assert reason(str(path)) == "not_audio"


def test_random_bytes_are_never_audio():
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert reason(rng.bytes(3000)) in ("not_audio", "unreadable", "truncated", "empty")


def test_empty(tmp_path):
    path = tmp_path / "empty.mp3"
    path.touch()
    assert reason(str(path)) == "empty"
    assert reason(b"") == "empty"
    assert reason(encode(np.zeros((0, 2)))) == "empty"
    assert reason(encode(np.zeros((0, 2)), container="FLAC")) == "empty"


def test_not_found(tmp_path):
    assert reason(str(tmp_path / "missing.mp3")) == "not_found"
    assert reason((tmp_path / "missing.mp3").as_uri()) == "not_found"


def test_object_not_found(s3_server):
    assert reason(f"s3://{s3_server.bucket}/missing.mp3") == "not_found"


def test_storage_failure_is_an_oserror(s3_server, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(OSError, match=r"(?i)access.denied|signature"):
        load_audio(f"s3://{s3_server.bucket}/ready")


def test_folder(tmp_path):
    assert reason(str(tmp_path)) == "unreadable"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_samples_that_are_not_finite_or_too_large(value):
    samples = compose(1.0)
    samples[12_345, 1] = value
    with pytest.raises(
        AudioError, match=r"sample 12,345 \(0.560 s\) is -?(nan|inf|1\.5\d*e\+38)"
    ) as raised:
        load_audio(encode(samples, subtype="FLOAT"))
    assert raised.value.reason == "unreadable"


def test_damage_inside_a_flac():
    data = bytearray(encode(compose(8.0), container="FLAC"))
    middle = len(data) // 2
    data[middle : middle + 20_000] = bytes(20_000)
    assert reason(bytes(data)) == "unreadable"


def test_too_short():
    assert reason(recording("mp3"), minimum_seconds=1.0) == "too_short"
    assert decode(recording("mp3"), minimum_seconds=0.7).duration_seconds > 0.7
    for suffix in ("mp3", "wav", "m4a"):
        assert reason(recording(suffix), offset=5.0) == "too_short"


def test_limits():
    wav = encode(np.zeros((8_000, 6)), 8_000)
    assert reason(wav, limits=Limits(max_channels=5)) == "unreadable"
    assert reason(wav, limits=Limits(max_native_rate=7_999)) == "unreadable"
    assert reason(wav, limits=Limits(max_bytes=1_000)) == "too_long"
    assert reason(wav, limits=Limits(max_seconds=0.9)) == "too_long"
    assert reason(recording("m4a"), limits=Limits(max_seconds=0.5)) == "too_long"


def test_flac_bomb_is_refused_by_its_header():
    """Refuse it by its header and allocate nothing: silence compresses 2,000 to 1."""
    data = encode(np.zeros(22_050 * 600), container="FLAC")
    assert len(data) < 300_000
    assert reason(data, limits=Limits(max_seconds=300)) == "too_long"


def test_flac_of_unknown_length():
    """Read to the end if the header has no length (written to a pipe), within the limits."""
    data = bytearray(encode(compose(3.0), container="FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    assert decode(bytes(data)).duration_seconds == pytest.approx(3.0)
    assert reason(bytes(data), limits=Limits(max_seconds=2)) == "too_long"


def test_errors_cross_process_borders():
    error = pickle.loads(pickle.dumps(AudioError("too_long", "an opera")))
    assert (error.reason, error.detail, str(error)) == (
        "too_long",
        "an opera",
        "too_long: an opera",
    )
    with pytest.raises(ValueError, match="'boring' is not one of"):
        AudioError("boring", "minimal music")
    assert "silent" not in AUDIO_ERRORS
