"""Recordings that say nothing, through the reader that extracts and the store's parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from musicrec.audio import extract_features
from musicrec.features.columns import AudioReader
from musicrec.features.informative import is_constant, reasons_of_part
from musicrec.storage.store import Store, parquet_bytes

RATE = 22050
TIME = np.arange(30 * RATE) / RATE
NOISE = np.random.default_rng(0).standard_normal(len(TIME))
SOUNDS = {
    "zeros": 0 * TIME,
    "below -80 dB": 5e-5 * np.sin(2 * np.pi * 300 * TIME),
    "tone": 0.5 * np.sin(2 * np.pi * 440 * TIME),
    "offset": np.full(len(TIME), 0.3),
    "noise": 0.1 * NOISE,
    "tone in noise": 0.1 * np.sin(2 * np.pi * 440 * TIME) + 0.01 * NOISE,
    "beeps": 0.5 * np.sin(2 * np.pi * 440 * TIME) * (TIME % 1 < 0.5),
    "decay": np.exp(-TIME / 5) * np.sin(2 * np.pi * 440 * TIME),
}
SAY_NOTHING = {
    "zeros": "silent",
    "below -80 dB": "silent",
    "tone": "constant",
    "offset": "constant",
}


@pytest.mark.parametrize("precision", ["float16", "uint8"])
def test_silence_and_constant_sound_are_told_from_music(tmp_path: Path, precision: str) -> None:
    store, reader = Store(str(tmp_path)), AudioReader(precision, "librosa", 2.0)
    rows = []
    for name, samples in SOUNDS.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE, subtype="FLOAT")
        rows.append({"item": name, "uri": str(tmp_path / f"{name}.wav"), "columns": ["mfcc"]})
    part = reader(pa.Table.from_pylist(rows))
    store.write("part.parquet", parquet_bytes(part, row_group_size=8))
    tracks = [(name, row) for row, name in enumerate(SOUNDS)]
    assert dict(reasons_of_part((store.uri("part.parquet"), tracks), "mfcc")) == SAY_NOTHING


def test_the_padding_of_a_short_recording_does_not_count() -> None:
    tone, noise = (SOUNDS[name][: 3 * RATE].astype(np.float32) for name in ("tone", "noise"))
    assert is_constant(extract_features(tone, ("mfcc",))["mfcc"], 3.0)
    assert not is_constant(extract_features(noise, ("mfcc",))["mfcc"], 3.0)
