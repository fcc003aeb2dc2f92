"""Measure the CPU time of a clip's six features, and how far they are from librosa, on real music.

Each implementation is timed in process CPU time on one pinned core. All run on one clip before the
next clip starts, so that noise on the machine affects them alike. The librosa versions are written
out in full here: six loads are what the thesis did, one load is the better use of the same library.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from musicrec.audio.parameters import FEATURES, FFT_SIZE, FRAMES, HOP, MEL_BANDS, SAMPLE_RATE

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
DEMO_CLIPS = 12
REPEATS = 3
TARGETS = {"six loads": 10.0, "one load": 5.0}  # smallest CPU time relative to ours
DECODING_TARGET = 2.0  # largest CPU time relative to bare decoding
LIMITS = {
    "stft": (0.01, 1e-3),
    "stft_halved": (0.01, 1e-3),
    "mel": (0.01, 1e-3),
    "mfcc": (0.01, 1e-3),
    "cqt": (0.02, 3e-3),
    "chroma": (1e-3, 1e-3),
}
TORCH_FACTOR = 5  # how many times further from librosa the torch backend may be
HALF_LIMIT = 0.04  # dB that storage as extract.precision = float16 may add


def librosa_feature(name: str, samples: np.ndarray) -> np.ndarray:
    """Compute one feature (frequency, 643) with librosa as the thesis did (Whitell 2019)."""
    import librosa

    frame = {"n_fft": FFT_SIZE, "hop_length": HOP}
    rate = {"sr": SAMPLE_RATE}
    if name in ("stft", "stft_halved"):
        stft = librosa.amplitude_to_db(np.abs(librosa.stft(samples, **frame))[:, :FRAMES])
        return stft[:1024] if name == "stft_halved" else stft
    if name == "mel":
        return librosa.power_to_db(
            librosa.feature.melspectrogram(y=samples, n_mels=MEL_BANDS, **rate, **frame)[:, :FRAMES]
        )
    if name == "mfcc":
        return librosa.feature.mfcc(y=samples, n_mfcc=13, n_mels=MEL_BANDS, **rate, **frame)[
            1:, :FRAMES
        ]
    if name == "cqt":
        cqt = librosa.cqt(samples, hop_length=HOP, n_bins=168, bins_per_octave=24, **rate)
        return librosa.amplitude_to_db(np.abs(cqt)[:, :FRAMES])
    return librosa.feature.chroma_cqt(y=samples, hop_length=HOP, bins_per_octave=24, **rate)[
        :, :FRAMES
    ]


def six_loads(path: Path) -> None:
    """Decode the file again for every feature and standardise per frame, as the thesis did."""
    import librosa

    for name in FEATURES:
        feature = librosa_feature(name, librosa.load(path, sr=SAMPLE_RATE)[0])
        (feature - feature.mean(axis=0)) / np.maximum(feature.std(axis=0), 1e-6)


def one_load(path: Path) -> None:
    """Load once and take the lower half of the STFT from the whole: librosa at its best."""
    import librosa

    samples = librosa.load(path, sr=SAMPLE_RATE)[0]
    features = {name: librosa_feature(name, samples) for name in FEATURES if name != "stft_halved"}
    features["stft_halved"] = features["stft"][:1024]


def ours(path: Path) -> None:
    """Load a clip and extract its six features with musicrec."""
    from musicrec.audio import extract_features, load_audio

    extract_features(load_audio(path))


def our_load(path: Path) -> None:
    """Load a clip with musicrec: decode, mix down, resample."""
    from musicrec.audio import load_audio

    load_audio(path)


def bare_decode(path: Path) -> None:
    """Decode a clip with libsndfile and do nothing else."""
    import soundfile

    soundfile.read(path, dtype="float32")


WAYS: dict[str, Callable[[Path], None]] = {
    "six loads": six_loads,
    "one load": one_load,
    "ours": ours,
    "our load": our_load,
    "bare decode": bare_decode,
}


def render_clips(folder: Path, count: int) -> list[Path]:
    """Render demo works, cycling through the genres, as 30 s stereo MP3s (44.1 kHz, 256 kb/s).

    The folder is created if it does not exist.
    """
    import av

    from musicrec.catalog.demo.render import SAMPLE_RATE as RATE
    from musicrec.catalog.demo.render import cut_clip, read_parts, sounding_notes, synthesize
    from musicrec.catalog.demo.works import demo_works

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for work in demo_works(0, count):
        path = folder / f"{work.genre_top} {work.track_id}.mp3"
        samples = synthesize(cut_clip(sounding_notes(read_parts(work)), work.start), work.program)
        with av.open(path, "w") as output:
            stream = output.add_stream("libmp3lame", rate=RATE, layout="stereo", bit_rate=256_000)
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples.T), format="fltp", layout="stereo"
            )
            frame.sample_rate = RATE
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                output.mux(packet)
        paths.append(path)
    return paths


def measure(paths: list[Path], repeats: int) -> dict[str, np.ndarray]:
    """Return CPU milliseconds (clips,) of each implementation: medians of ``repeats`` runs.

    The implementations take turns on each clip.
    """
    for way in WAYS.values():
        way(paths[0])  # compiles, builds tables, fills the page cache
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for path in paths:
        runs: dict[str, list[float]] = {name: [] for name in WAYS}
        for _ in range(repeats):
            for name, way in WAYS.items():
                start = time.process_time()
                way(path)
                runs[name].append(1000 * (time.process_time() - start))
        for name, values in runs.items():
            times[name].append(float(np.median(values)))
    return {name: np.array(values) for name, values in times.items()}


def speed_table(times: dict[str, np.ndarray]) -> tuple[list[str], bool]:
    """Return the lines of the speed table, and whether every target is met."""
    lines = [f"{'CPU ms per clip':<15} {'median':>8} {'quartiles':>15} {'x ours':>8} {'target':>8}"]
    met = True
    for name, values in times.items():
        low, middle, high = np.percentile(values, [25, 50, 75])
        ratio = float(np.median(values / times["ours"]))
        target = ""
        if name in TARGETS:
            target = f">= {TARGETS[name]:g}"
            met &= ratio >= TARGETS[name]
        lines.append(f"{name:<15} {middle:8.1f} {low:7.1f}-{high:7.1f} {ratio:8.2f} {target:>8}")
    over_decoding = float(np.median(times["ours"] / times["bare decode"]))
    lines.append(f"ours / bare decode: {over_decoding:.2f} (target <= {DECODING_TARGET:g})")
    return lines, met and over_decoding <= DECODING_TARGET


def parity_table(paths: list[Path]) -> tuple[list[str], bool]:
    """Return the lines of the parity table, and whether every limit is kept.

    The table has the largest and the 99.9th-percentile distance from librosa on the same samples,
    for the kernels, the torch backend and float16 storage.
    """
    import torch

    from musicrec.audio import extract_features, load_audio
    from musicrec.audio.torch_backend import extract_features_batch
    from musicrec.features import codec
    from musicrec.features.columns import column_precision

    rows: dict[str, list[list[float]]] = {name: [] for name in FEATURES}
    for path in paths:
        samples = load_audio(path)
        kernels = extract_features(samples)
        batch = extract_features_batch(torch.from_numpy(samples)[None])
        for name in FEATURES:
            reference = librosa_feature(name, samples)
            precision = column_precision(name, "float16")
            stored = codec.decode(
                codec.encode(kernels[name], precision), kernels[name].shape, precision
            )
            half = np.abs(stored - kernels[name]).max()
            distances = [
                np.abs(kernels[name] - reference),
                np.abs(batch[name][0].numpy() - reference),
            ]
            rows[name].append(
                [
                    *(f(d) for d in distances for f in (np.max, lambda d: np.quantile(d, 0.999))),
                    half,
                ]
            )
    lines = [
        f"{'worst clip':<12} {'max':>9} {'99.9 %':>9} {'limits':>16} {'torch max':>10} "
        f"{'99.9 %':>9} {'stored':>9}"
    ]
    met = True
    for name, values in rows.items():
        largest, usual, torch_largest, torch_usual, half = np.max(values, axis=0)
        limits = LIMITS[name]
        met &= largest <= limits[0] and usual <= limits[1]
        met &= torch_largest <= TORCH_FACTOR * limits[0] and torch_usual <= TORCH_FACTOR * limits[1]
        met &= half <= HALF_LIMIT
        lines.append(
            f"{name:<12} {largest:9.1e} {usual:9.1e} {limits[0]:>7g} {limits[1]:>8g} "
            f"{torch_largest:10.1e} {torch_usual:9.1e} {half:9.1e}"
        )
    return lines, bool(met)


def device_lines(paths: list[Path], device: str, batch_size: int = 32) -> list[str]:
    """Return clips per second on a GPU, and the fraction of a worker's time spent on decoding."""
    import torch

    from musicrec.audio import load_audio
    from musicrec.audio.features import fit_clip
    from musicrec.audio.torch_backend import extract_features_batch

    start = time.perf_counter()
    clips = [fit_clip(load_audio(path)) for path in paths]
    decoding = (time.perf_counter() - start) / len(paths)
    length = min(map(len, clips))
    batch = torch.from_numpy(
        np.stack([clips[i % len(clips)][:length] for i in range(batch_size)])
    ).pin_memory()
    seconds = []
    for _ in range(6):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for feature in extract_features_batch(batch, device=device).values():
            feature.cpu()
        seconds.append(time.perf_counter() - start)
    each = float(np.median(seconds[1:])) / batch_size
    return [
        f"torch on {torch.cuda.get_device_name()}: {1 / each:,.0f} clips/s "
        f"in batches of {batch_size}, copies to and from the GPU included",
        f"decoding {1000 * decoding:.1f} ms per clip and core: "
        f"{decoding / (decoding + each):.0%} of the time of a worker with one core",
    ]


@contextmanager
def one_core() -> Iterator[None]:
    """Pin this process to one core where the system can (not on macOS)."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def run(arguments: list[str]) -> int:
    """Print the tables; return 0 if every target is met, else 1."""
    parser = argparse.ArgumentParser(
        prog="benchmark.py features",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--clips",
        type=Path,
        help="folder of 30 s MP3s (default: render works of the demo catalog)",
    )
    parser.add_argument(
        "--count", type=int, default=DEMO_CLIPS, help="number of clips (default %(default)s)"
    )
    parser.add_argument(
        "--repeats",
        type=int,
        default=REPEATS,
        help="runs of each implementation per clip (default %(default)s)",
    )
    parser.add_argument("--device", help="CUDA device to measure the torch backend on, e.g. cuda")
    options = parser.parse_args(arguments)
    if options.clips and not any(options.clips.rglob("*.mp3")):
        print(f"benchmark features: no .mp3 under {options.clips}", file=sys.stderr)
        return 2
    # Thread pools are sized when NumPy and Numba load, so start again with one thread if needed.
    if any(os.environ.get(variable) != "1" for variable in THREAD_VARIABLES):
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")}
        code = (
            f"import sys; sys.path[:0] = {sys.path!r}; "
            f"from musicrec.benchmarks.features import run; sys.exit(run({arguments!r}))"
        )
        return os.spawnve(os.P_WAIT, sys.executable, [sys.executable, "-c", code], environment)
    with tempfile.TemporaryDirectory() as folder, one_core():
        paths = (
            sorted(options.clips.rglob("*.mp3"))[: options.count]
            if options.clips
            else render_clips(Path(folder), options.count)
        )
        speed, fast = speed_table(measure(paths, options.repeats))
        parity, equal = parity_table(paths)
        names = [f"  {path.stem}" for path in paths]
        lines = [
            f"{len(paths)} clips, one core, {options.repeats} runs each:",
            *names,
            "",
            *speed,
            "",
            *parity,
        ]
        if options.device:
            lines += ["", *device_lines(paths, options.device)]
    lines += [
        "",
        f"speed targets {'met' if fast else 'MISSED'}, "
        f"parity limits {'met' if equal else 'MISSED'}",
    ]
    print("\n".join(lines))
    return 0 if fast and equal else 1
