"""The torch reader, on the CPU, against the reader with the Numba kernels on real recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from musicrec.audio import FEATURES
from musicrec.extraction.manifest import MANIFEST
from musicrec.features import torch_reader
from musicrec.features.columns import AudioReader
from musicrec.features.reader import decode_feature
from musicrec.features.torch_reader import TorchAudioReader

RECORDINGS = Path(__file__).parents[1] / "data" / "audio"
SETTINGS = ("float16", "librosa", 0.5)
FRAME_SECONDS = 1024 / 22050
# Torch is within five times the kernels' limits to librosa (0.01 dB, cqt 0.02 dB), and float16 adds
# up to half a step of 2^-4 dB on both sides.
TOLERANCES = {"cqt": 0.17} | dict.fromkeys(("stft", "stft_halved", "mel"), 0.12)
TOLERANCES |= {"mfcc": 0.12, "chroma": 6e-3}


def rows_of(uris: list[str], columns: tuple[str, ...]) -> pa.Table:
    rows = [{"block": "0", "item": uri, "uri": uri, "columns": list(columns)} for uri in uris]
    return pa.Table.from_pylist(rows, schema=MANIFEST)


@pytest.fixture(scope="module")
def uris(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return recordings of several formats and lengths, with a text and a missing file between."""
    folder = tmp_path_factory.mktemp("audio")
    (folder / "text.mp3").write_text("not audio at all " * 20)
    music, rate = soundfile.read(RECORDINGS / "music.flac")
    soundfile.write(folder / "long.flac", np.tile(music, 6), rate)  # 36 s, cut to 30
    soundfile.write(folder / "29.9.flac", np.tile(music, 5)[: int(29.9 * rate)], rate)
    names = ["chord.mp3", "chord.wav", "music.flac", "chord.ogg"]
    recordings = [str(RECORDINGS / name) for name in names]
    others = [str(folder / name) for name in ("text.mp3", "long.flac", "none.mp3", "29.9.flac")]
    return [uri for pair in zip(recordings, others, strict=True) for uri in pair]


@pytest.mark.parametrize("columns", [("stft", "mel", "cqt", "chroma", "mfcc"), ("stft_halved",)])
def test_rows_equal_those_of_the_kernels(
    uris: list[str], columns: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_reader, "BATCH_CLIPS", 3)
    rows = rows_of(uris, columns)
    kernels = AudioReader(*SETTINGS)(rows)
    read = TorchAudioReader(*SETTINGS, device="cpu", threads=2)(rows)
    assert read.schema == kernels.schema
    for name in ("track_id", "audio", "duration_seconds", "codec", "silent", "reason", "detail"):
        assert read.column(name).to_pylist() == kernels.column(name).to_pylist()
    assert read.column("reason").null_count == 6
    seconds = read.column("duration_seconds").to_pylist()
    for name in (name for name in FEATURES if name in columns):
        pairs = zip(decode_feature(read, name), decode_feature(kernels, name), strict=True)
        for (torch_value, kernel_value), length in zip(pairs, seconds, strict=True):
            assert (torch_value is None) == (kernel_value is None) == (length is None)
            if torch_value is None:
                continue
            # Behind a recording's end chroma is rounding noise, scaled to 1.
            frames = int(length / FRAME_SECONDS) - 4 if name == "chroma" else None
            np.testing.assert_allclose(
                torch_value[0][:, :frames],
                kernel_value[0][:, :frames],
                atol=TOLERANCES[name],
                err_msg=name,
            )
            assert (torch_value[1] is None) == (name != "stft_halved")


def test_the_device_has_a_hash_of_its_own() -> None:
    kernels = AudioReader("float16", "librosa", 29.0)
    # The hash of stores that were written before there was a choice of the device.
    assert kernels.parameters() == "b6d71dd129a5059f"
    assert TorchAudioReader("float16", "librosa", 29.0).parameters() != kernels.parameters()


def test_a_failing_storage_is_an_error_of_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: AudioReader, item: str, uri: str) -> None:
        raise OSError("503 slow down")

    monkeypatch.setattr(TorchAudioReader, "decode", fail)
    with pytest.raises(OSError, match="503"):
        TorchAudioReader(*SETTINGS, device="cpu")(rows_of(["a"], ("mel",)))
