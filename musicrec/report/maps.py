"""Maps section: artist embeddings by t-SNE (Whitell 2019, Figures 19-22)."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from musicrec.report.charts import Axis, Chart, Series
from musicrec.report.palette import BLUE, CATEGORIES, OTHER, UNKNOWN, VERMILLION, category, ordered
from musicrec.report.sections import Plot, Section

# t-SNE's perplexity must stay below a third of the points (van der Maaten and Hinton 2008 recommend
# far fewer neighbours than points).
POINTS_OF_PERPLEXITY = 3
FEWEST_ARTISTS = 5
# Up to this number the exact gradient is faster than the Barnes-Hut tree (2 s at 300 artists).
EXACT_ARTISTS = 300
LONGEST_HOVER = 120  # characters per fact, to keep the page small
FROM = 1900  # before it an era is a century: earlier music is too sparse for decades
AXES = (
    Axis("t-SNE, first dimension (no unit)", numbers=False),
    Axis("t-SNE, second dimension (no unit)", numbers=False),
)


@dataclass(frozen=True)
class ArtistMap:
    """Artists on a plane.

    Attributes
    ----------
    artists
        (N,) facts: ``artist_id``, ``name``, ``country``, ``genres``, ``first_year``, ``last_year``,
        ``birth_year``.
    places
        (N, 2).
    perplexity
        The perplexity used.
    total
        Artists in the whole table, from which these were drawn.
    """

    artists: Sequence[Mapping[str, Any]]
    places: np.ndarray
    perplexity: float
    total: int


def drawn_artists(total: int, most: int, always: Sequence[int], seed: int) -> np.ndarray:
    """Return sorted rows for the map: all, or ``most`` drawn at random with those of ``always``."""
    if total <= most:
        return np.arange(total)
    kept = list(dict.fromkeys(always))[:most]
    others = np.setdiff1d(np.arange(total), kept)
    drawn = np.random.default_rng([seed, total]).choice(others, most - len(kept), replace=False)
    return np.sort(np.concatenate((drawn, np.array(kept, np.int64))))


def artist_map(
    vectors: np.ndarray,
    artists: Sequence[Mapping[str, Any]],
    perplexity: float,
    total: int,
    seed: int,
) -> ArtistMap | None:
    """Lay artists (N, D) out by t-SNE of cosine distances; None if there are too few.

    The thesis uses perplexity 50.
    """
    from sklearn.manifold import TSNE

    if len(vectors) < FEWEST_ARTISTS:
        return None
    used = min(perplexity, (len(vectors) - 1) / POINTS_OF_PERPLEXITY)
    start = np.random.default_rng(seed).normal(scale=1e-4, size=(len(vectors), 2))
    method = "exact" if len(vectors) <= EXACT_ARTISTS else "barnes_hut"
    layout = TSNE(perplexity=used, metric="cosine", init=start, random_state=seed, method=method)
    return ArtistMap(artists, layout.fit_transform(np.asarray(vectors, np.float32)), used, total)


def maps_section(
    drawn: ArtistMap, related: Mapping[str, Sequence[str]], around: Sequence[str]
) -> Section:
    """Plot artists by country, genre and era, and around single artists (Figures 19 to 22).

    Parameters
    ----------
    related
        Ids of the related artists of each artist.
    around
        Ids of artists to show with two levels of related artists.
    """
    kinds = {
        "country": ("Figure 19", [artist["country"] for artist in drawn.artists]),
        "genre": (
            "Figure 20",
            [next(iter(artist["genres"] or ()), None) for artist in drawn.artists],
        ),
    }
    plots = [
        Plot(
            f"figure-{number[-2:]}-{kind}",
            f"Artists by {kind}",
            _reading(f"the {kind}"),
            _by_category(drawn, labels),
            thesis=number,
        )
        for kind, (number, labels) in kinds.items()
    ]
    reading = _reading(
        "the middle of the years of an artist's tracks (or the birth year), "
        "as a century before 1900 and a decade after it"
    )
    plots.append(
        Plot("figure-21-era", "Artists by era", reading, _by_era(drawn), thesis="Figure 21")
    )
    for number, artist in enumerate(dict.fromkeys(around)):
        if (plot := _around(drawn, related, artist, number)) is not None:
            plots.append(plot)
    sample = "" if len(drawn.artists) == drawn.total else f", drawn at random from {drawn.total:,}"
    lead = (
        f"The embeddings of {len(drawn.artists):,} artists{sample}, laid out by t-SNE of cosine "
        f"distances with perplexity {drawn.perplexity:.0f}. Close artists have the same related "
        "artists; large distances and directions have no meaning. Hover over an artist for the "
        "name."
    )
    return Section("maps", "Maps of the artist embeddings", lead, tuple(plots))


def _reading(what: str) -> str:
    return f"The colour is {what}. Where the embeddings reflect it, a colour forms clusters."


def hover_of(artist: Mapping[str, Any]) -> str:
    """Return the hover text of an artist: name, country, genres, years."""
    years = "-".join(
        str(year)
        for year in dict.fromkeys((artist["first_year"], artist["last_year"]))
        if year is not None
    )
    facts = [
        artist["name"] or artist["artist_id"],
        artist["country"],
        ", ".join((artist["genres"] or [])[:4]),
        years,
    ]
    return "\n".join(fact[:LONGEST_HOVER] for fact in facts if fact)


def _by_category(drawn: ArtistMap, labels: Sequence[str | None]) -> Chart:
    counts = Counter(label for label in labels if label is not None)
    largest = [label for label, _ in counts.most_common(len(CATEGORIES))]
    groups = {label: [row for row, own in enumerate(labels) if own == label] for label in largest}
    rest = [row for row, own in enumerate(labels) if own is not None and own not in groups]
    series = _grey(drawn, f"{len(counts) - len(largest)} others", rest, OTHER) + _grey(
        drawn, "unknown", _unknown(labels), UNKNOWN
    )
    series += [
        _points(drawn, label, rows, *category(number))
        for number, (label, rows) in enumerate(groups.items())
    ]
    return Chart(tuple(series), *AXES, height=560)


def _by_era(drawn: ArtistMap) -> Chart:
    eras = [era_of(artist) for artist in drawn.artists]
    present = sorted({era for era in eras if era is not None})
    series = _grey(drawn, "unknown", _unknown(eras), UNKNOWN)
    for era, colour in zip(present, ordered(len(present)), strict=True):
        series.append(
            _points(
                drawn,
                f"{era}s",
                [row for row, own in enumerate(eras) if own == era],
                colour,
                "circle",
            )
        )
    return Chart(tuple(series), *AXES, height=560)


def era_of(artist: Mapping[str, Any]) -> int | None:
    """Return the first year of an artist's century (or decade from 1900 on).

    It is that of the middle of the tracks' years, or of the birth year.
    """
    years = [year for year in (artist["first_year"], artist["last_year"]) if year is not None]
    years = years or [year for year in (artist["birth_year"],) if year is not None]
    if not years:
        return None
    middle = sum(years) // len(years)
    span = 100 if middle < FROM else 10
    return middle // span * span


def _around(
    drawn: ArtistMap, related: Mapping[str, Sequence[str]], artist: str, number: int
) -> Plot | None:
    """Plot an artist with two levels of related artists; None if the artist is not on the map."""
    rows = {facts["artist_id"]: row for row, facts in enumerate(drawn.artists)}
    if artist not in rows:
        return None
    first = set(related.get(artist, ())) - {artist}
    second = {other for one in first for other in related.get(one, ())} - first - {artist}
    near, far = (
        [rows[other] for other in sorted(level) if other in rows] for level in (first, second)
    )
    named = {rows[artist], *near, *far}
    series = _grey(
        drawn, "all others", [row for row in range(len(drawn.artists)) if row not in named], UNKNOWN
    )
    for level, members, colour, symbol, size in (
        ("related to a related artist", far, BLUE, "circle", 6),
        ("related", near, VERMILLION, "square", 8),
        (drawn.artists[rows[artist]]["name"] or artist, [rows[artist]], "#000000", "diamond", 14),
    ):
        if members:
            series.append(_points(drawn, level, members, colour, symbol, size))
    name = drawn.artists[rows[artist]]["name"] or artist
    return Plot(
        f"figure-22-artist-{number + 1}",
        f"{name} and two levels of related artists",
        f"On the map: {len(near)} of the {len(first)} related artists, and {len(far)} of the "
        f"{len(second)} that are related to these. A good embedding has the first level close by, "
        "the second around it.",
        Chart(tuple(series), *AXES, height=520),
        thesis="Figure 22",
    )


def _unknown(labels: Sequence[object]) -> list[int]:
    return [row for row, own in enumerate(labels) if own is None]


def _grey(drawn: ArtistMap, name: str, rows: Sequence[int], colour: str) -> list[Series]:
    return (
        [dataclasses.replace(_points(drawn, name, rows, colour, "circle", 5), aside=True)]
        if rows
        else []
    )


def _points(
    drawn: ArtistMap, name: str, rows: Sequence[int], colour: str, symbol: str, size: float = 8
) -> Series:
    places = drawn.places[rows]
    hover = [hover_of(drawn.artists[row]) for row in rows]
    return Series(
        f"{name} ({len(rows)})" if len(rows) > 1 else name,
        places[:, 0],
        places[:, 1],
        colour,
        hover,
        symbol=symbol,
        size=size,
    )
