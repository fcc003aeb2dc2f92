"""Inspect audio: plot a recording's six spectral features and their response to edge kernels.

On this machine:    python jobs/inspect_audio.py FILE [--out FOLDER]
On a cluster:       ray job submit --working-dir . -- python jobs/inspect_audio.py
                    s3://bucket/track.mp3 --out s3://bucket/pictures

Writes PNG files. FILE is a path or a URI (s3://...). For a recording longer than 30 s, --offset
selects the window.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from musicrec.audio import CLIP_SECONDS, AudioError, decode, extract_features
from musicrec.config.errors import EXIT_CONFIG, print_error
from musicrec.evaluation.spectrogram_plots import save_plots
from musicrec.runtime.process import prepare
from musicrec.storage.store import resolve
from musicrec.storage.uri import StoreError, absolute
from musicrec.telemetry.printable import printable


def main() -> int:
    prepare()
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
    except (AudioError, StoreError) as error:
        print_error(error)
        return EXIT_CONFIG
    print(
        f"{printable(options.file)}: {audio.duration_seconds:.2f} s of "
        f"{audio.container}/{audio.codec}, "
        f"{audio.native_sample_rate:,} Hz, {audio.channels} channels"
        f"{', silent' if audio.silent else ''}"
    )
    clip = Path(absolute(options.file)).stem
    for path in save_plots(extract_features(audio.samples), options.out, clip):
        print(printable(str(path)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
