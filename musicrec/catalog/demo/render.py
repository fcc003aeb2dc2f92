"""Render a score of the installed music21 package to at least 30 s of sound, a picture and words.

Scores are read from the package at run time and never copied. Written repeats are ignored: a piece
shorter than the clip starts over, a longer one is cut, or played on if longer tracks are requested.
Times are seconds, pitches MIDI note numbers (60 is middle C).
"""

from __future__ import annotations

import colorsys
import importlib.resources
import io
import math
import re
import warnings
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import midirenderer
import numpy as np
import pretty_midi
import soundfile
import soxr
from music21 import chord, common, converter, harmony, note, stream, tempo
from music21.musicxml.xmlToM21 import MusicXMLWarning
from PIL import Image

from musicrec.catalog.demo.works import CLIP_SECONDS, Work

SAMPLE_RATE = 44_100
LOUDNESS = 0.1  # root mean square of the clip, -20 dB below full scale
PEAK = 0.95
FADE_SECONDS = 0.05
VELOCITY = 80
DEFAULT_BEATS_PER_MINUTE = 100.0
ARTWORK_SIZE = 640


class Note(NamedTuple):
    """One sounding note; ties are joined."""

    start: float
    end: float
    pitch: int
    part: int


def read_parts(work: Work) -> list[stream.Stream]:
    """Parse the work's score and return its parts, which sound together.

    An ABC file with one voice per tune (Josquin) gives one part per tune.

    Raises
    ------
    ValueError
        The ABC file has no tune of that number.
    """
    path = common.getCorpusFilePath() / work.score
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", MusicXMLWarning
        )  # bars a few ticks too long: music21 repairs them
        if work.tune is None:
            parsed = converter.parseFile(path, forceSource=True, storePickle=False)
        else:
            parsed = converter.parseData(_tune_text(path, work.tune), format="abc")
    scores = parsed.scores if isinstance(parsed, stream.Opus) else [parsed]
    return [part for score in scores for part in score.parts]


def _tunes(path: Path) -> list[str]:
    # Some files mix encodings, but only in titles and remarks.
    return re.split(r"(?m)^(?=X:)", path.read_text(encoding="utf-8", errors="replace"))


def _tune_text(path: Path, number: int) -> str:
    for tune in _tunes(path):
        heading = re.match(r"X:\s*(\d+)", tune)
        if heading and int(heading[1]) == number:
            return tune
    raise ValueError(f"{path} has no tune X:{number}: correct the number in artists.yaml")


def sounding_notes(parts: Sequence[stream.Stream]) -> list[Note]:
    """Return the notes of all parts, in seconds from the first note on, at the written tempo.

    Without a metronome mark the beat of the first time signature (at least a quarter, at most a
    half note) is played at 100 per minute. Grace notes and the chord symbols of lead sheets are
    omitted.

    Raises
    ------
    ValueError
        The score has no note.
    """
    notes: list[Note] = []
    marks: dict[float, float] = {}
    for index, part in enumerate(parts):
        flat = part.flatten()
        for mark in flat.getElementsByClass(tempo.MetronomeMark):
            quarters_per_minute = mark.getQuarterBPM()
            if quarters_per_minute:
                marks.setdefault(float(mark.offset), float(quarters_per_minute))
        notes.extend(_joined_notes(flat, index))
    if not notes:
        raise ValueError("the score has no note: choose another one in artists.yaml")
    if not marks:
        marks[0.0] = DEFAULT_BEATS_PER_MINUTE * _beat_quarters(parts)
    first = min(item.start for item in notes)
    notes = [Note(item.start - first, item.end - first, item.pitch, item.part) for item in notes]
    offsets = np.array(sorted(marks))
    positions = np.array([[item.start, item.end] for item in notes])
    seconds = quarters_to_seconds(
        positions, offsets - first, np.array([marks[offset] for offset in offsets])
    )
    return sorted(
        Note(start, end, item.pitch, item.part)
        for (start, end), item in zip(seconds.tolist(), notes, strict=True)
    )


def quarters_to_seconds(
    positions: np.ndarray, offsets: np.ndarray, quarters_per_minute: np.ndarray
) -> np.ndarray:
    """Convert positions in quarter notes to seconds.

    Each tempo holds from its offset to the next (offsets rise). The first tempo also holds before
    its offset; position 0 is at 0 seconds.
    """
    bounds = np.concatenate([[0.0], np.clip(offsets[1:], 0.0, None)])
    starts = np.concatenate([[0.0], np.cumsum(np.diff(bounds) * 60.0 / quarters_per_minute[:-1])])
    index = np.searchsorted(bounds, positions, side="right") - 1
    return starts[index] + (positions - bounds[index]) * 60.0 / quarters_per_minute[index]


def _joined_notes(flat: stream.Stream, part: int) -> Iterable[Note]:
    """Yield the notes of one flattened part in quarter notes, with tied notes joined."""
    open_ties: dict[int, Note] = {}
    for element in flat.notes:
        is_pitched = isinstance(element, note.Note | chord.Chord) and not isinstance(
            element, harmony.Harmony
        )
        if not is_pitched or element.duration.isGrace or element.quarterLength <= 0:
            continue
        start, end = float(element.offset), float(element.offset + element.quarterLength)
        for single in element.notes if isinstance(element, chord.Chord) else (element,):
            pitch = int(single.pitch.midi)
            tie = single.tie.type if single.tie is not None else None
            begun = open_ties.pop(pitch, None) if tie in ("stop", "continue") else None
            sounding = Note(begun.start if begun else start, end, pitch, part)
            if tie in ("start", "continue"):
                open_ties[pitch] = sounding
            else:
                yield sounding
    yield from open_ties.values()


def _beat_quarters(parts: Sequence[stream.Stream]) -> float:
    """Return the beat of the first time signature, from a quarter to a half note.

    The unit is quarter notes; compound metres have dotted beats.
    """
    signature = next(
        (item for part in parts for item in part.recurse().getElementsByClass("TimeSignature")),
        None,
    )
    if signature is None:
        return 1.0
    is_compound = signature.numerator > 3 and signature.numerator % 3 == 0
    return min(2.0, max(1.0, (12.0 if is_compound else 4.0) / signature.denominator))


def track_seconds(notes: Sequence[Note], start: float, longest: float) -> float:
    """Return how many seconds a piece is played from ``start``.

    It is played to its end, for at least 30 s and at most ``longest``.
    """
    return min(longest, max(CLIP_SECONDS, max(item.end for item in notes) - start))


def cut_clip(
    notes: Sequence[Note], start: float = 0.0, seconds: float = CLIP_SECONDS
) -> list[Note]:
    """Cut a clip from ``start`` on; a piece that ends earlier starts over.

    A note that sounds at the cut begins with the clip.

    Raises
    ------
    ValueError
        ``start`` is after the end of the piece.
    """
    period = max(item.end for item in notes)
    if start >= period:
        raise ValueError(
            f"the clip starts at {start} s, but the piece lasts {period:.1f} s: "
            "correct the start in artists.yaml"
        )
    clip = []
    for turn in range(math.ceil((start + seconds) / period)):
        shift = turn * period - start
        for item in notes:
            begin, end = max(0.0, item.start + shift), min(seconds, item.end + shift)
            if begin < end:
                clip.append(Note(begin, end, item.pitch, item.part))
    return clip


@lru_cache(maxsize=1)
def _soundfont() -> bytes:
    return importlib.resources.files("pretty_midi").joinpath("TimGM6mb.sf2").read_bytes()


def synthesize(notes: Sequence[Note], program: int, seconds: float = CLIP_SECONDS) -> np.ndarray:
    """Play the notes with one General MIDI program and normalise the loudness.

    This is the only function that uses the synthesizer.

    Returns
    -------
    numpy.ndarray
        Samples of shape (44 100 x seconds, 2), float32 at 44.1 kHz, root mean square 0.1 unless a
        peak would exceed 0.95.
    """
    midi = pretty_midi.PrettyMIDI()
    for part in sorted({item.part for item in notes}):
        instrument = pretty_midi.Instrument(program)
        instrument.notes = [
            pretty_midi.Note(VELOCITY, item.pitch, item.start, item.end)
            for item in notes
            if item.part == part
        ]
        midi.instruments.append(instrument)
    buffer = io.BytesIO()
    midi.write(buffer)
    wave = midirenderer.render_wave_from(_soundfont(), buffer.getvalue())
    rendered, sample_rate = soundfile.read(io.BytesIO(wave), dtype="float32", always_2d=True)
    # midirenderer supports 48 kHz only
    rendered = soxr.resample(rendered, sample_rate, SAMPLE_RATE)
    samples = np.zeros((round(seconds * SAMPLE_RATE), 2), dtype=np.float32)
    length = min(len(samples), len(rendered))
    samples[:length] = rendered[:length]
    fade = round(FADE_SECONDS * SAMPLE_RATE)
    samples[-fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)[:, None]
    peak = float(np.abs(samples).max())
    if peak == 0.0:
        raise RuntimeError(f"program {program} rendered silence: choose others in PROGRAMS")
    return samples * min(LOUDNESS / float(np.sqrt(np.mean(samples**2))), PEAK / peak)


def draw_piano_roll(notes: Sequence[Note]) -> Image.Image:
    """Draw the clip's notes, time to the right and pitch upwards, 640 x 640 pixels.

    The hue is a hash of the notes, so that it carries nothing about artist or genre; each part has
    its own lightness.
    """
    parts = sorted({item.part for item in notes})
    lowest = min(item.pitch for item in notes) - 2
    rows = max(item.pitch for item in notes) + 2 - lowest
    pixels = np.zeros((ARTWORK_SIZE, ARTWORK_SIZE), dtype=np.uint8)
    for item in notes:
        left, right = (
            round(moment / CLIP_SECONDS * ARTWORK_SIZE) for moment in (item.start, item.end)
        )
        bottom, top = (
            round((row - lowest) / rows * ARTWORK_SIZE) for row in (item.pitch, item.pitch + 1)
        )
        pixels[ARTWORK_SIZE - top : ARTWORK_SIZE - bottom, left : max(left + 1, right - 1)] = (
            1 + parts.index(item.part)
        )
    hue = zlib.crc32(bytes(item.pitch for item in notes)) / 2**32
    lightness = [0.12, *np.linspace(0.45, 0.85, len(parts))]
    colours = [colorsys.hls_to_rgb(hue, light, 0.6) for light in lightness]
    image = Image.fromarray(pixels)
    image.putpalette([round(255 * channel) for colour in colours for channel in colour])
    return image


def sung_text(work: Work, parts: Sequence[stream.Stream]) -> str | None:
    """Return the words of the first verse, in the first part that has any, for the whole piece.

    None without words. A part in which most syllables have no letter has no words: Corelli's
    figured bass is stored as words. music21 drops the words of ABC files, so these are read from
    the file's ``w:`` lines.
    """
    path = common.getCorpusFilePath() / work.score
    if path.suffix == ".abc":
        texts = [_tune_text(path, work.tune)] if work.tune is not None else _tunes(path)
        voices = [
            re.sub(r"-\s*", "- ", " ".join(re.findall(r"(?m)^w:(.*)$", text))).split()
            for text in texts
        ]
        return next(
            filter(None, (join_syllables((token, None) for token in voice) for voice in voices)),
            None,
        )
    for part in parts:
        syllables = [
            (item.lyrics[0].text, item.lyrics[0].syllabic)
            for item in part.recurse().notes
            if item.lyrics
        ]
        if sum(bool(_letters(text)) for text, _ in syllables) * 2 > len(syllables):
            return join_syllables(syllables)
    return None


def join_syllables(syllables: Iterable[tuple[str | None, str | None]]) -> str:
    """Join sung syllables, pairs of text and syllabic (single, begin, middle or end), to words.

    A trailing hyphen joins as "begin" and "middle" do. Digits (figured bass, numbers of verses) and
    the lines and stars of extended syllables are dropped.
    """
    words: list[str] = []
    is_open = False
    for text, syllabic in syllables:
        letters = _letters(text)
        if not letters:
            continue
        if is_open:
            words[-1] += letters.strip("-")
        else:
            words.append(letters.strip("-"))
        is_open = syllabic in ("begin", "middle") or letters.endswith("-")
    return " ".join(words)


def _letters(text: str | None) -> str:
    """Return the syllable without digits, elision marks and extenders; empty without letters.

    A soft hyphen at the end counts as a hyphen.
    """
    clean = re.sub(r"\d[\d./]*|[_*~\u035c\u203f\s]+", " ", text or "").strip()
    clean = re.sub(r"\u00ad+$", "-", clean).replace("\u00ad", "")
    return clean if any(character.isalpha() for character in clean) else ""
