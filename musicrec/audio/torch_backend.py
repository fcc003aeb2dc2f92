"""Compute the six features for batches of clips on torch, for workers with a GPU.

STFT, mel, MFCC and decibels are torchaudio's; it has no constant-Q transform, no chroma and no
resampler with soxr's response (its own is off by 45 dB), so those are implemented here from the
tables of the NumPy features (`musicrec.audio.tables`). On a CPU the NumPy features are faster,
because a batch's temporaries do not fit the cache. Distances to librosa are a little larger than
those of the NumPy features, within five times their limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
import torchaudio.functional

from musicrec.audio import tables
from musicrec.audio.parameters import (
    BINS_PER_OCTAVE,
    CHROMA_CLASSES,
    CLIP_SAMPLES,
    CQT_FFT_SIZE,
    DYNAMIC_RANGE,
    FEATURES,
    FFT_SIZE,
    FRAMES,
    HALVED_BINS,
    HOP,
    MEL_BANDS,
    MFCC_COEFFICIENTS,
    OCTAVES,
    PITCH_HIGHEST,
    PITCH_LOWEST,
    PITCH_THRESHOLD,
    POWER_FLOOR,
    SAMPLE_RATE,
    SHORTEST_SAMPLES,
    STFT_BINS,
    TUNING_FFT_SIZE,
    TUNING_HOP,
    TUNING_STEPS,
    ChromaKind,
    check_chroma,
    check_names,
)

_HALF_RATE_BLOCK = 128  # samples per row of the decimation's matrix product
_CLIPS_SORTED = 8  # clips whose spectral peaks are ranked together: 462,000 candidates each


def extract_features_batch(
    samples: torch.Tensor,
    names: Sequence[str] = FEATURES,
    device: str | torch.device | None = None,
    *,
    chroma: ChromaKind = "librosa",
) -> dict[str, torch.Tensor]:
    """Compute the features of `musicrec.audio.extract_features` for a batch.

    Parameters
    ----------
    samples
        float32 mono (B, N) at 22,050 Hz; all clips of one length, N at least 1. Cut or padded as
        one clip is.
    names, chroma
        As for `extract_features`.
    device
        Where to compute; None uses the device of `samples`.

    Returns
    -------
    dict
        float32 tensors (B, frequency, 643) on `device`.

    Raises
    ------
    ValueError
        Unknown names, or samples that are empty, not two-dimensional or not finite.
    """
    names = check_names(names)
    check_chroma(chroma)
    clips = _fit_clips(samples).to(device)
    requested = set(names)
    features: dict[str, torch.Tensor] = {}
    with torch.inference_mode(), _exact_products():
        if not torch.isfinite(clips.sum(dtype=torch.float64)):
            raise ValueError("samples contain NaN or infinity")
        if requested & {"stft", "stft_halved", "mel", "mfcc"}:
            features |= _spectral(clips, requested)
        if requested & {"cqt", "chroma"}:
            features |= _constant_q(clips, requested, chroma)
    return {name: features[name] for name in names}


@contextmanager
def _exact_products() -> Iterator[None]:
    """Use full float32 matrix products inside, whatever the caller has set.

    TensorFloat-32 keeps 10 bits of the mantissa, 60 dB.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _fit_clips(samples: torch.Tensor) -> torch.Tensor:
    if samples.ndim != 2 or samples.shape[1] == 0:
        raise ValueError(
            f"samples have shape {tuple(samples.shape)}: expected a batch (B, N), N at least 1"
        )
    clips = samples[:, :CLIP_SAMPLES].to(torch.float32)
    return torch.nn.functional.pad(clips, (0, max(0, SHORTEST_SAMPLES - clips.shape[1])))


@lru_cache(maxsize=64)
def _table(name: str, device: torch.device) -> torch.Tensor:
    """Return a constant table on a device."""
    make = {
        "window": lambda: tables.hann_window(FFT_SIZE),
        "tuning_window": lambda: tables.hann_window(TUNING_FFT_SIZE),
        "half_rate": _half_rate_matrix,
        "pitch_classes": lambda: (
            np.arange(CHROMA_CLASSES)[:, None] == tables.pitch_classes()
        ).astype(np.float32),
        "tunings": lambda: np.linspace(-0.5, 0.5, TUNING_STEPS + 1),
    }
    return torch.from_numpy(make[name]()).to(device)


def _half_rate_matrix() -> np.ndarray:
    """Return the decimation filter as a matrix (samples in, _HALF_RATE_BLOCK samples out).

    Each column is two rows below the previous one.
    """
    taps = tables.half_rate_filter()
    matrix = np.zeros((2 * _HALF_RATE_BLOCK + len(taps) - 2, _HALF_RATE_BLOCK), dtype=np.float32)
    for column in range(_HALF_RATE_BLOCK):
        matrix[2 * column : 2 * column + len(taps), column] = taps
    return matrix


def _half_rate(signal: torch.Tensor) -> torch.Tensor:
    """Filter the signal and keep every second sample: (B, N) to (B, ceil(N / 2)).

    A matrix product over overlapping blocks: three times the arithmetic of a strided convolution,
    and 50 times its speed on a CPU.
    """
    matrix = _table("half_rate", signal.device)
    length = -(-signal.shape[1] // 2)
    blocks = -(-length // _HALF_RATE_BLOCK)
    before = (len(matrix) - 2 * (_HALF_RATE_BLOCK - 1)) // 2
    after = 2 * _HALF_RATE_BLOCK * (blocks - 1) + len(matrix) - before - signal.shape[1]
    padded = torch.nn.functional.pad(signal, (before, max(0, after)))
    return (padded.unfold(1, len(matrix), 2 * _HALF_RATE_BLOCK)[:, :blocks] @ matrix).flatten(1)[
        :, :length
    ]


@lru_cache(maxsize=8)
def _mel_filters(device: torch.device) -> torch.Tensor:
    """Return the mel filter bank (256, 2049)."""
    filters = torchaudio.functional.melscale_fbanks(
        STFT_BINS, 0.0, SAMPLE_RATE / 2, MEL_BANDS, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
    )
    return filters.T.contiguous().to(device)


@lru_cache(maxsize=8)
def _cosine_transform(device: torch.device) -> torch.Tensor:
    """Return the orthonormal DCT-II without its first row (12, 256)."""
    return (
        torchaudio.functional.create_dct(MFCC_COEFFICIENTS, MEL_BANDS, norm="ortho")
        .T[1:]
        .contiguous()
        .to(device)
    )


@lru_cache(maxsize=256)
def _wavelets(tuning: float, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(tables.wavelet_spectra(tuning)[:, tables.WAVELET_BINS]).to(device)


def _decibels(power: torch.Tensor) -> torch.Tensor:
    # With an axis for one channel: without it torchaudio takes the peak over all items.
    return torchaudio.functional.amplitude_to_DB(
        power[:, None], 10.0, POWER_FLOOR, 0.0, top_db=DYNAMIC_RANGE
    )[:, 0]


def _stft(clips: torch.Tensor, size: int, hop: int, window: torch.Tensor) -> torch.Tensor:
    return torch.stft(
        clips, size, hop, window=window, center=True, pad_mode="constant", return_complex=True
    )


def _spectral(clips: torch.Tensor, requested: set[str]) -> dict[str, torch.Tensor]:
    window = _table("window", clips.device)
    power = torchaudio.functional.spectrogram(
        clips, 0, window, FFT_SIZE, HOP, FFT_SIZE, 2.0, False, pad_mode="constant"
    )  # (B, 2049, frames)
    features = {}
    if requested & {"stft", "stft_halved"}:
        features["stft"] = _decibels(power[..., :FRAMES])
        features["stft_halved"] = features["stft"][:, :HALVED_BINS]
    if requested & {"mel", "mfcc"}:
        mel = _mel_filters(clips.device) @ power
        features["mel"] = _decibels(mel[..., :FRAMES])
        features["mfcc"] = _cosine_transform(clips.device) @ _decibels(mel)[..., :FRAMES]
    return features


def _constant_q(
    clips: torch.Tensor, requested: set[str], chroma: ChromaKind
) -> dict[str, torch.Tensor]:
    concert = _wavelets(0.0, clips.device)
    tuned = concert
    own_tuning = "chroma" in requested and chroma == "librosa"
    if own_tuning:
        tuned = torch.stack([_wavelets(tuning, clips.device) for tuning in estimate_tunings(clips)])
    plain, own = [], []
    signal = clips
    for octave in range(OCTAVES):
        spectra = _stft(
            signal, CQT_FFT_SIZE, HOP >> octave, torch.ones(CQT_FFT_SIZE, device=clips.device)
        )
        spectra = spectra[:, tables.WAVELET_BINS, :FRAMES]
        if "cqt" in requested or not own_tuning:
            plain.append((concert @ spectra).abs())
        if own_tuning:
            own.append((tuned @ spectra).abs())
        if octave < OCTAVES - 1:
            signal = _half_rate(signal)
    features = {}
    if "cqt" in requested:
        features["cqt"] = _decibels(torch.cat(plain[::-1], dim=1).square())
    if "chroma" in requested:
        magnitudes = torch.cat((own or plain)[::-1], dim=1)
        folded = _table("pitch_classes", clips.device) @ magnitudes
        largest = folded.amax(dim=1, keepdim=True)
        features["chroma"] = folded / torch.where(
            largest < torch.finfo(torch.float32).tiny, 1.0, largest
        )
    return features


def estimate_tunings(clips: torch.Tensor) -> list[float]:
    """Apply `musicrec.audio.tuning.estimate_tuning` to each clip of a batch (B, N)."""
    spectra = _stft(clips, TUNING_FFT_SIZE, TUNING_HOP, _table("tuning_window", clips.device)).abs()
    threshold = spectra.amax(dim=1, keepdim=True) * PITCH_THRESHOLD
    bins = torch.fft.rfftfreq(TUNING_FFT_SIZE, 1 / SAMPLE_RATE)
    first, end = (int(torch.searchsorted(bins, edge)) for edge in (PITCH_LOWEST, PITCH_HIGHEST))
    below, centre, above = (spectra[:, first + step : end + step] for step in (-1, 0, 1))
    curvature, slope = above + below - 2 * centre, (above - below) / 2
    shift = torch.where(slope.abs() >= curvature.abs(), 0.0, -slope / curvature)
    pitch = (
        (torch.arange(first, end, device=clips.device)[:, None] + shift)
        * float(SAMPLE_RATE)
        / TUNING_FFT_SIZE
    )
    height = centre + 0.5 * slope * shift
    is_peak = (centre > threshold) & (centre > below) & (centre >= above)
    edges = _table("tunings", clips.device)
    tunings: list[float] = []
    for part in torch.arange(len(clips)).split(_CLIPS_SORTED):
        rows = slice(int(part[0]), int(part[-1]) + 1)
        tunings += _vote(
            pitch[rows].flatten(1), height[rows].flatten(1), is_peak[rows].flatten(1), edges
        )
    return tunings


def _vote(
    pitch: torch.Tensor, height: torch.Tensor, is_peak: torch.Tensor, edges: torch.Tensor
) -> list[float]:
    """Return the hundredth of a bin with the most votes of the louder half of each clip's peaks.

    `pitch`, `height` and `is_peak` are (B, candidates). A clip without peaks gives 0.
    """
    count = is_peak.sum(dim=1, keepdim=True)
    ranked = height.masked_fill(~is_peak, torch.inf).sort(dim=1).values
    middle = (
        ranked.gather(1, (count - 1).clamp_min(0) // 2)
        + ranked.gather(1, (count // 2).clamp_max(ranked.shape[1] - 1))
    ) / 2
    is_loud = is_peak & (height >= middle)
    residual = torch.remainder(BINS_PER_OCTAVE * torch.log2(pitch / (440.0 / 16)), 1.0)
    residual = torch.where(residual >= 0.5, residual - 1, residual)
    step = (torch.searchsorted(edges, residual.double(), right=True) - 1).clamp(0, TUNING_STEPS - 1)
    votes = torch.zeros(
        len(pitch), TUNING_STEPS, dtype=torch.int64, device=pitch.device
    ).scatter_add_(1, step, is_loud.long())
    # The first of equal counts wins, as in NumPy; torch's argmax does not guarantee it.
    fullest = (votes * TUNING_STEPS - torch.arange(TUNING_STEPS, device=pitch.device)).argmax(dim=1)
    return torch.where(count[:, 0] > 0, edges[fullest], 0.0).tolist()
