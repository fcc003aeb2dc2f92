"""Recommendation examples section (Whitell 2019, Table 7), with a spectrogram of each query."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from musicrec.evaluation.examples import Recommendation
from musicrec.report.sections import Example, Section, Table

IMAGE_SIZE = (480, 120)  # pixels
SECONDS_SHOWN = 10.0


def examples_section(
    made: Sequence[Recommendation],
    artists: Mapping[str, Mapping[str, Any]],
    related: Mapping[str, Collection[str]],
    clips: Mapping[str, tuple[str, bytes]],
    metric: str,
) -> Section:
    """Return one table per artist.

    Parameters
    ----------
    artists
        Facts by id: ``artist_id``, ``name``, ``genres``, ``origin``, ``country``, ``first_year``,
        ``last_year``.
    clips
        Title and mel image of a track by query artist; artists without one get no image.
    metric
        Name of the score of an example.
    """
    content = []
    for number, example in enumerate(made):
        name = artists[example.artist_id]["name"] or example.artist_id
        targets = set(related.get(example.artist_id, ()))
        answers = [artists[artist] for artist in example.answers]
        rows = [
            _row(answer, float(value), answer["artist_id"] in targets)
            for answer, value in zip(answers, example.similarities, strict=True)
        ]
        hits = sum(answer["artist_id"] in targets for answer in answers)
        title, image = clips.get(example.artist_id, ("", None))
        table = Table(
            f"table-7-{number + 1}",
            f"Recommended for {name}",
            "",
            ["artist", "related", "similarity", "genres", "origin", "years"],
            rows,
            thesis="Table 7",
            strong=frozenset(
                row for row, answer in enumerate(answers) if answer["artist_id"] in targets
            ),
        )
        facts = (
            f"{metric} {example.score:.2f}: {hits} of the first {len(rows)} are among the "
            f"{len(targets)} related artists. {_describe(artists[example.artist_id])}"
        )
        caption = (
            f"{title}: 0 to {SECONDS_SHOWN:.0f} s from left to right, "
            "0 to 11,025 Hz on the mel scale from bottom to top"
        )
        content.append(
            Example(
                f"example-{number + 1}",
                name,
                facts,
                image,
                caption,
                f"Mel spectrogram of {title}",
                table,
            )
        )
    lead = (
        "Recommendations from the music of test artists, which no model was trained on, from the "
        "best to the worst: the artists that rank first for the prediction. Related "
        "artists, which should be recommended, are marked. The image is the mel spectrogram of the "
        "beginning of one of the tracks; brighter is louder."
    )
    return Section("examples", "Recommendations", lead, tuple(content))


def _describe(artist: Mapping[str, Any]) -> str:
    """Return the catalog's facts about an artist in one line."""
    origin = ", ".join(part for part in (artist["origin"], artist["country"]) if part)
    parts = [part for part in (", ".join(artist["genres"] or []), origin, years_of(artist)) if part]
    return f"In the catalog: {'; '.join(parts)}." if parts else ""


def _row(artist: Mapping[str, Any], similarity: float, is_related: bool) -> list[str]:
    origin = ", ".join(part for part in (artist["origin"], artist["country"]) if part)
    name = artist["name"] or artist["artist_id"]
    return [
        name,
        "yes" if is_related else "",
        f"{similarity:.3f}",
        ", ".join(artist["genres"] or []),
        origin,
        years_of(artist),
    ]


def years_of(artist: Mapping[str, Any]) -> str:
    """Return the years of an artist's tracks, for example "1741-1788"."""
    return "-".join(
        map(
            str,
            sorted(
                {year for year in (artist["first_year"], artist["last_year"]) if year is not None}
            ),
        )
    )


def mel_image(mel: np.ndarray, frames: int) -> bytes:
    """Return a small PNG of the first frames of a mel spectrogram (frequency, time) in dB.

    Low pitches are at the bottom.
    """
    from matplotlib import colormaps
    from PIL import Image

    part = mel[::-1, :frames]
    low, high = float(part.min()), float(part.max())
    shades = colormaps["magma"]((part - low) / ((high - low) or 1.0), bytes=True)
    image = Image.fromarray(np.ascontiguousarray(shades[..., :3])).resize(
        IMAGE_SIZE, Image.Resampling.BILINEAR
    )
    stream = io.BytesIO()
    image.quantize(128).save(stream, format="PNG", optimize=True)
    return stream.getvalue()
