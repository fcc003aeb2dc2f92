"""Recommendation examples on the page (thesis, Table 7), each with a picture of how the query sounds."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from musicrec.evaluation.examples import Recommendation
from musicrec.report.sections import Example, Section, Table

PICTURE_SIZE = (480, 120)  # pixels
SECONDS_SHOWN = 10.0


def examples_section(
    made: Sequence[Recommendation],
    artists: Mapping[str, Mapping[str, Any]],
    related: Mapping[str, Collection[str]],
    clips: Mapping[str, tuple[str, bytes]],
    metric: str,
) -> Section:
    """One table an artist.

    Parameters
    ----------
    artists
        Facts by id: ``artist_id``, ``name``, ``genres``, ``origin``, ``country``, ``first_year``, ``last_year``.
    clips
        Title and mel picture of a track of each artist that was asked for; artists without one have no picture.
    metric
        What the score of an example is called.
    """
    content = []
    for number, one in enumerate(made):
        name = artists[one.artist_id]["name"] or one.artist_id
        wanted = set(related.get(one.artist_id, ()))
        answers = [artists[artist] for artist in one.answers]
        rows = [
            _row(answer, float(value), answer["artist_id"] in wanted)
            for answer, value in zip(answers, one.similarities, strict=True)
        ]
        hits = sum(answer["artist_id"] in wanted for answer in answers)
        title, picture = clips.get(one.artist_id, ("", None))
        table = Table(
            f"table-7-{number + 1}",
            f"Recommended for {name}",
            "",
            ["artist", "related", "similarity", "genres", "origin", "years"],
            rows,
            thesis="Table 7",
            strong=frozenset(
                row for row, answer in enumerate(answers) if answer["artist_id"] in wanted
            ),
        )
        said = f"{metric} {one.score:.2f}: {hits} of the first {len(rows)} are related, of {len(wanted)} that are. "
        said += _known(artists[one.artist_id])
        under = f"{title}: 0 to {SECONDS_SHOWN:.0f} s from left to right, 0 to 11,025 Hz on the mel scale from bottom to top"
        content.append(
            Example(
                f"example-{number + 1}",
                name,
                said,
                picture,
                under,
                f"Mel spectrogram of {title}",
                table,
            )
        )
    lead = (
        "What is recommended from the music of test artists, whom no model has heard, from the best done to the worst: the artists whose "
        "embeddings are closest to the prediction. Related artists, which it should find, are marked. The picture is the mel "
        "spectrogram of the beginning of one of the tracks; brighter is louder."
    )
    return Section("examples", "Recommendations", lead, tuple(content))


def _known(artist: Mapping[str, Any]) -> str:
    """What the catalog knows of an artist, in a line."""
    origin = ", ".join(part for part in (artist["origin"], artist["country"]) if part)
    parts = [part for part in (", ".join(artist["genres"] or []), origin, years_of(artist)) if part]
    return f"The catalog says: {'; '.join(parts)}." if parts else ""


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
    """The years of an artist's tracks, "1741-1788"."""
    return "-".join(
        map(
            str,
            sorted(
                {year for year in (artist["first_year"], artist["last_year"]) if year is not None}
            ),
        )
    )


def mel_picture(mel: np.ndarray, frames: int) -> bytes:
    """The first frames of a mel spectrogram (frequency, time), in dB, as a small PNG with low pitches at the bottom."""
    from matplotlib import colormaps
    from PIL import Image

    part = mel[::-1, :frames]
    low, high = float(part.min()), float(part.max())
    shades = colormaps["magma"]((part - low) / ((high - low) or 1.0), bytes=True)
    picture = Image.fromarray(np.ascontiguousarray(shades[..., :3])).resize(
        PICTURE_SIZE, Image.Resampling.BILINEAR
    )
    stream = io.BytesIO()
    picture.quantize(128).save(stream, format="PNG", optimize=True)
    return stream.getvalue()
