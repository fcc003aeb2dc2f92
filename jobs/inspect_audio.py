"""Pictures of one recording: its six spectral features and what edge kernels see in them, as PNG.

On this machine:    python jobs/inspect_audio.py FILE [--out FOLDER]
On a cluster:       ray job submit --working-dir . -- python jobs/inspect_audio.py s3://bucket/track.mp3 --out s3://bucket/pictures

FILE is a path or a URI (s3://...). Of a recording longer than 30 s, the window that begins at --offset is shown.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from musicrec.audio import CLIP_SECONDS, AudioError, decode, extract_features
from musicrec.evaluation.spectrogram_plots import save_pictures
from musicrec.storage.store import resolve


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", help="MP3, FLAC, Ogg, WAV, AIFF, AAC or M4A: a path or a URI")
    parser.add_argument(
        "--out", default="pictures", help="folder or URI for the PNGs (default: %(default)s)"
    )
    parser.add_argument(
        "--offset", type=float, default=0.0, help="seconds to skip (default: %(default)s)"
    )
    options = parser.parse_args()
    try:
        audio = decode(options.file, offset=options.offset, duration=CLIP_SECONDS, locate=resolve)
    except AudioError as error:
        print(f"inspect_audio: {error}", file=sys.stderr)
        return 2
    print(
        f"{options.file}: {audio.duration_seconds:.2f} s of {audio.container}/{audio.codec}, {audio.native_sample_rate:,} Hz, "
        f"{audio.channels} channels{', silent' if audio.silent else ''}"
    )
    for path in save_pictures(
        extract_features(audio.samples), options.out, Path(options.file).stem
    ):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
