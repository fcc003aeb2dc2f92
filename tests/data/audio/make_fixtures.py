"""Write the golden fixtures of tests/audio: short recordings in each format, and librosa's results.

Run ``python tests/data/audio/make_fixtures.py`` with the test extra installed (librosa 0.11.0,
libsndfile 1.2.2, FFmpeg of PyAV for M4A).
"""

from __future__ import annotations

import sys
from pathlib import Path

import av
import librosa
import numpy as np
import soundfile

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent.parent / "audio"))

from sound import compose, librosa_features  # noqa: E402

# The music ends in frame 129, followed by padding.
FRAMES = np.array([0, 1, 57, 100, 128, 129, 130, 642])
SHORT = {
    "mp3": ("MP3", None, 44_100),
    "flac": ("FLAC", "PCM_16", 44_100),
    "ogg": ("OGG", "VORBIS", 44_100),
    "opus": ("OGG", "OPUS", 48_000),
    "wav": ("WAV", "PCM_24", 48_000),
    "aiff": ("AIFF", "PCM_16", 22_050),
}


def write_aac(path: Path, samples: np.ndarray, rate: int) -> None:
    with av.open(path, "w") as output:
        stream = output.add_stream("aac", rate=rate, layout="stereo", bit_rate=96_000)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T), format="fltp", layout="stereo"
        )
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)


def main() -> None:
    soundfile.write(
        FOLDER / "music.flac", compose(6.0, seed=3).mean(axis=1), 22_050, subtype="PCM_16"
    )
    samples, _ = librosa.load(FOLDER / "music.flac")
    features = librosa_features(np.pad(samples, (0, 642 * 1024 - len(samples))))
    np.savez_compressed(
        FOLDER / "features.npz",
        frames=FRAMES,
        **{name: feature[:, FRAMES] for name, feature in features.items()},
    )
    decoded = {}
    for suffix, (container, subtype, rate) in SHORT.items():
        path = FOLDER / f"chord.{suffix}"
        soundfile.write(path, compose(0.8, rate, seed=4), rate, format=container, subtype=subtype)
        decoded[suffix] = librosa.load(path)[0][::8]
    for suffix in ("m4a", "aac"):
        write_aac(FOLDER / f"chord.{suffix}", compose(0.8, 44_100, seed=4), 44_100)
    np.savez_compressed(FOLDER / "decoded.npz", **decoded)


if __name__ == "__main__":
    main()
