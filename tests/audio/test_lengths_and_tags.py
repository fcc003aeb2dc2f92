"""Files whose headers are wrong, and bytes that are no sound: all of the sound is read.

Expected lengths are counted: an MPEG-1 frame has 1,152 samples, and 1,105 of them (576 of LAME's
delay, 529 of the decoder's) are no sound.
"""

from __future__ import annotations

import io
import struct

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from sound import DATA, compose

from musicrec.audio import AudioError, decode, load_audio
from musicrec.audio.mpeg import frame_length
from musicrec.features.columns import AudioReader

RATE = 44_100
NOISE = np.random.default_rng(7).bytes(5000)
ID3 = b"ID3\x04\x00\x00\x00\x00\x08\x00" + bytes(1024)


def encode(
    container: str,
    seconds: float = 2.0,
    rate: int = RATE,
    subtype: str | None = None,
    **options: object,
) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(
        buffer, compose(seconds, rate), rate, format=container, subtype=subtype, **options
    )
    return buffer.getvalue()


@pytest.fixture(scope="module", params=["CONSTANT", "VARIABLE"])
def mp3(request):
    return encode("MP3", bitrate_mode=request.param, compression_level=0.5)


def frames(data: bytes) -> list[bytes]:
    result, position = [], 0
    while length := frame_length(data, position):
        result.append(data[position : position + length])
        position += length
    return result


def with_count(data: bytes, count: int) -> bytes:
    at = max(data.find(b"Xing"), data.find(b"Info")) + 8
    return data[:at] + struct.pack(">I", count) + data[at + 4 :]


@pytest.mark.parametrize("count", [0, 10, 1000, 2**32 - 1])
def test_counted_frames_decide_the_length(mp3, count):
    audio = decode(with_count(mp3, count), None)
    assert len(audio.samples) == (len(frames(mp3)) - 1) * 1152 - 1105
    assert audio.warning == f"the header states {count:,} frames, not {len(frames(mp3)):,}"
    np.testing.assert_array_equal(audio.samples[:88_000], load_audio(mp3, None)[:88_000])


@pytest.mark.parametrize("count", [0, 1000])
def test_wrong_count_does_not_hide_a_cut(mp3, count):
    with pytest.raises(AudioError, match="truncated"):
        decode(with_count(mp3, count)[: 2 * len(mp3) // 3])


@pytest.mark.parametrize("between", [b"", b"TAG" + bytes(125) + ID3])
def test_joined_mp3s_are_read_to_the_end(mp3, between):
    audio = decode(mp3 + between + mp3, None)
    assert len(audio.samples) == (2 * len(frames(mp3)) - 1) * 1152 - 1105
    assert "2 MPEG streams follow each other" in audio.warning
    part = decode(mp3 + between + mp3, None, offset=1.5, duration=1.0)
    np.testing.assert_array_equal(part.samples, audio.samples[66_150:][:RATE])


def test_joined_mp3s_of_different_formats(mp3):
    audio = decode(mp3 + encode("MP3", 1.0, 22_050), None)
    assert audio.duration_seconds == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize(
    "tail",
    [
        bytes(2000),
        b"\r\n" * 800,
        NOISE,
        ID3,
        b"LYRICSBEGIN" + b"la " * 900 + b"LYRICSEND" + b"TAG" + bytes(125),
        NOISE * 4 + b"APETAGEX" + struct.pack("<IIII", 2000, 20_032, 1, 1 << 31) + bytes(8),
    ],
    ids=["zeros", "lines", "noise", "ID3v2", "Lyrics3", "APE"],
)
@pytest.mark.parametrize("counted", [True, False])
def test_bytes_after_the_last_frame(mp3, tail, counted):
    clean = mp3 if counted else b"".join(frames(mp3)[1:])
    np.testing.assert_array_equal(load_audio(clean + tail), load_audio(clean))


def test_noise_inside_is_skipped_and_told(mp3):
    bare = b"".join(frames(mp3)[1:])
    at = len(b"".join(frames(bare)[:40]))
    inserted = decode(bare[:at] + b"\xaa" * 2000 + bare[at:], None)
    assert inserted.warning == f"2,000 bytes that are no MPEG, the first at offset {at:,}"
    assert inserted.duration_seconds == pytest.approx(2.0, abs=0.05)
    over = decode(mp3[:at] + NOISE[:2000] + mp3[at + 2000 :], None)
    assert over.duration_seconds == pytest.approx(1.9, abs=0.1)
    with pytest.raises(AudioError, match=rf"^unreadable.* no MPEG, the first at offset {at:,}$"):
        decode(bare[:at] + NOISE * 4 + bare[at:])


def test_a_file_that_ends_in_zeros_is_cut(mp3):
    with pytest.raises(AudioError, match="truncated"):
        decode(mp3[: len(mp3) // 2] + bytes(len(mp3) // 2))


@pytest.mark.parametrize(("subtype", "rate"), [("VORBIS", 22_050), ("OPUS", 48_000)])
def test_chained_ogg(subtype, rate):
    first, second = encode("OGG", 2.0, rate, subtype), encode("OGG", 1.0, rate, subtype)
    audio = decode(first + second, None)
    expected = [load_audio(first, None), load_audio(second, None)]
    np.testing.assert_array_equal(audio.samples, np.concatenate(expected))
    assert audio.warning.startswith("2 Ogg streams follow each other")
    mixed = decode(first + encode("OGG", 1.0, RATE, "VORBIS"), None)
    assert mixed.duration_seconds == pytest.approx(3.0, abs=1e-3)
    with pytest.raises(AudioError, match="truncated"):
        decode(first + second[: len(second) // 2])


def test_chained_flac_in_ogg():
    av = pytest.importorskip("av")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="ogg") as media:
        stream = media.add_stream("flac", rate=RATE, layout="mono", format="s16")
        stream.open()
        size = stream.codec_context.frame_size
        sound = (compose(1.0, RATE).mean(axis=1) * 30_000).astype(np.int16)
        for start in range(0, RATE, size):
            piece = sound[None, start : start + size]
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, start
            media.mux(stream.encode(frame))
        media.mux(stream.encode(None))
    assert len(decode(buffer.getvalue() * 2, None).samples) == 2 * RATE


@pytest.mark.parametrize(
    ("container", "mark", "form", "extra"),
    [
        ("WAV", b"data", "<I", 0),
        ("AIFF", b"SSND", ">I", 0),
        ("CAF", b"data", ">Q", 0),
        ("W64", b"data", "<Q", 0),
        ("AU", b".snd", ">I", 0),
    ],
)
def test_sizes_of_samples(container, mark, form, extra):
    data = encode(container, 1.0, subtype="PCM_16")
    expected = load_audio(data, None)
    assert len(expected) == RATE
    at = data.index(mark) + {"W64": 16, "AU": 8}.get(container, 4)
    size = struct.calcsize(form)
    (stated,) = struct.unpack_from(form, data, at)
    assert stated >= 4 * RATE
    unknown = 256**size - 1 if container != "W64" else 2**63 - 1
    for wrong in (0, unknown, stated + 44):
        audio = decode(data[:at] + struct.pack(form, wrong) + data[at + size :], None)
        assert abs(len(audio.samples) - RATE) <= 11  # 44 bytes
        np.testing.assert_array_equal(audio.samples[:44_000], expected[:44_000])
        assert (audio.warning is None) == (wrong == unknown)
    with pytest.raises(AudioError, match="truncated"):
        decode(data[: int(0.9 * len(data))])


@pytest.mark.parametrize("padding", [b"", b"\0"])
def test_wav_with_a_chunk_of_odd_size(padding):
    data = encode("WAV", 0.5, subtype="PCM_16")
    odd = data[:36] + b"LIST" + struct.pack("<I", 5) + b"INFOx" + padding + data[36:]
    np.testing.assert_array_equal(load_audio(odd), load_audio(data))


def test_mp3_in_wav(mp3):
    bare = b"".join(frames(mp3)[1:])
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 2, RATE, 16_000, 1, 0, 12, 1, 2, 417, 1, 1393)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(bare))
    body = b"WAVE" + chunks + bare
    audio = decode(b"RIFF" + struct.pack("<I", len(body)) + body, None)
    assert (audio.container, audio.codec) == ("wav", "mpeg_layer_iii")
    np.testing.assert_array_equal(audio.samples, load_audio(bare, None))


@pytest.mark.parametrize("container", ["WAV", "AIFF", "AU", "CAF", "W64", "FLAC", "OGG"])
@pytest.mark.parametrize("tag", [ID3, ID3 + b".", ID3 + bytes(300), ID3 + ID3])
def test_tag_before_every_format(container, tag):
    data = encode(container, 0.5)
    if tag.endswith(b".") and container in ("AU", "CAF", "W64"):
        pytest.skip("these are recognised directly behind a tag only")
    np.testing.assert_array_equal(load_audio(tag + data), load_audio(data))


@pytest.mark.parametrize("beginning", [b"\x1aE\xdf\xa3", b"FLV\1", b"RIFF\0\0\0\0AVI LIST"])
def test_video_is_not_audio(mp3, beginning):
    with pytest.raises(AudioError, match="not_audio"):
        decode(beginning + bytes(100) + mp3)


def test_warning_is_a_column_of_the_part(tmp_path, mp3):
    (tmp_path / "a.mp3").write_bytes(mp3)
    (tmp_path / "b.mp3").write_bytes(with_count(mp3, 0))
    (tmp_path / "c.mp3").write_bytes(b"no sound")
    rows = {
        "block": ["0"] * 3,
        "item": ["a", "b", "c"],
        "uri": [str(tmp_path / f"{name}.mp3") for name in "abc"],
        "columns": [["mfcc"]] * 3,
    }
    part = AudioReader("float16", "librosa", minimum_seconds=0.5)(pa.table(rows))
    assert part.column("reason").to_pylist() == [None, None, "not_audio"]
    first, second, third = part.column("warning").to_pylist()
    assert (first, third) == (None, None)
    assert second.startswith("the header states 0 frames")


def test_many_interruptions_are_searched_in_bounded_time():
    frame = frames((DATA / "chord.mp3").read_bytes())[1]
    with pytest.raises(AudioError):
        decode((frame * 2 + b"\xff\xfb" * 2000) * 2000)
