"""Sections of the report from small tables and arrays."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from musicrec import schema
from musicrec.report.catalog import failures_section, splits_section, tail_section
from musicrec.report.confusion import confusion_section
from musicrec.report.counterparts import counterparts_section
from musicrec.report.curves import curves_section
from musicrec.report.examples import mel_image
from musicrec.report.maps import ArtistMap, artist_map, drawn_artists, era_of, maps_section
from musicrec.report.sections import Table, format_interval, format_number


def artist(number: int, **more: Any) -> dict[str, Any]:
    names = ("country", "genres", "origin", "first_year", "last_year", "birth_year")
    return dict.fromkeys(names) | {"artist_id": f"a{number}", "name": f"Artist {number}"} | more


def catalog(rows: list[dict[str, Any]], artists: list[dict[str, Any]]) -> tuple[pa.Table, pa.Table]:
    tracks = [
        {"track_id": str(n), "audio": f"{n}.mp3", "genres": [], "split": "train"} | row
        for n, row in enumerate(rows)
    ]
    return (
        schema.conform(pa.Table.from_pylist(tracks), schema.TRACKS, "tracks"),
        schema.conform(
            pa.Table.from_pylist([{"genres": []} | one for one in artists]),
            schema.ARTISTS,
            "artists",
        ),
    )


def test_the_long_tail_by_location_genre_and_year() -> None:
    rows = [
        {
            "artist_id": "a" if n < 6 else "b",
            "genre_top": f"genre {n % 4}",
            "year": 1700 + n if n else None,
        }
        for n in range(10)
    ]
    tracks, artists = catalog(
        rows, [{"artist_id": "a", "country": "Italy"}, {"artist_id": "b", "country": None}]
    )
    location, genre, year = tail_section(tracks, artists).content
    assert [plot.name for plot in (location, genre, year)] == [
        "figure-07-location",
        "figure-07-genre",
        "figure-07-year",
    ]
    assert {plot.thesis for plot in (location, genre, year)} == {"Figure 7"}
    assert location.content.y.ticks == ((0, "Italy"),)
    assert "unknown for 4 tracks" in location.reading
    assert genre.content.series[0].x.tolist() == [3, 3, 2, 2]
    assert "2 of 4 genres have half of the tracks" in genre.reading
    assert year.content.series[0].y.sum() == 9
    assert "Unknown for 1 tracks" in year.reading


def test_more_genres_than_bars_are_counted_in_words() -> None:
    tracks, artists = catalog(
        [{"artist_id": "a", "genre_top": f"genre {n:02d}"} for n in range(40)], [{"artist_id": "a"}]
    )
    (genre,) = tail_section(tracks, artists).content
    assert len(genre.content.series[0].x) == 30
    assert "the 10 not shown have 10 tracks" in genre.reading


def test_a_catalog_without_facts_has_no_tail() -> None:
    assert tail_section(*catalog([{"artist_id": "a"}], [{"artist_id": "a"}])).missing


def test_splits_with_fractions_and_the_widest_difference() -> None:
    rows = [
        {"artist_id": split, "split": split, "genre_top": genre}
        for split in schema.SPLITS
        for genre in ("jazz", "rock")
    ]
    rows.append({"artist_id": "train", "split": "train", "genre_top": "jazz"})
    section = splits_section(*catalog(rows, [{"artist_id": split} for split in schema.SPLITS]))
    table, ratios = section.content
    assert table.rows == [
        ["train", "3", "42.9%", "1"],
        ["validation", "2", "28.6%", "1"],
        ["test", "2", "28.6%", "1"],
    ]
    assert "16.7 points" in section.lead
    assert {series.name: series.x.tolist() for series in ratios.content.series}[
        "train"
    ] == pytest.approx([200 / 3, 100 / 3])


def test_errors_by_reason() -> None:
    group = {
        "stage": "extract",
        "reason": "not_audio",
        "count": 1200,
        "examples": [{"track_id": "t1", "detail": "no frame"}],
    }
    section = failures_section([group], "s3://bucket/errors.parquet")
    assert section.content[0].rows == [["extract", "not_audio", "1,200", "t1: no frame"]]
    assert failures_section([], "").missing


def test_confused_genres_by_falling_number() -> None:
    matrix, table = confusion_section(
        [[5, 1, 0], [3, 2, 0], [0, 0, 0]], ["jazz", "rock", "folk"], "mel.time"
    ).content
    assert table.rows == [["rock", "jazz", "3", "0.600"], ["jazz", "rock", "1", "0.167"]]
    assert matrix.content.texts[1][0] == "rock predicted as jazz\n3 of 5 tracks"
    assert np.isfinite(matrix.content.values).all()


def test_learning_curves_of_what_was_trained_in_epochs() -> None:
    history = [
        {"epoch": 0, "loss": 1.0, "validation": 0.2},
        {"epoch": 1, "loss": 0.5, "validation": 0.4},
    ]
    validation, loss = curves_section(
        {"mel.time": history, "average": []}, "cosine", "negative cosine", "mel.time"
    ).content
    (line,) = validation.content.series
    assert (line.x.tolist(), line.y.tolist()) == ([1, 2], [0.2, 0.4])
    assert loss.content.series[0].y.tolist() == [1.0, 0.5]
    assert curves_section({"average": []}, "cosine", "negative cosine", "average").missing


def test_a_sample_of_artists_has_those_that_it_must() -> None:
    drawn = drawn_artists(1000, 50, [999, 3, 999], seed=0)
    assert len(drawn) == len(set(drawn.tolist())) == 50
    assert {3, 999} <= set(drawn.tolist())
    assert np.array_equal(drawn, drawn_artists(1000, 50, [999, 3], seed=0))
    assert len(drawn_artists(1000, 5, list(range(9)), seed=0)) == 5
    assert drawn_artists(4, 50, [], seed=0).tolist() == [0, 1, 2, 3]


def test_artists_that_are_alike_are_close_on_the_map() -> None:
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(3, 16), 20, axis=0)
    drawn = artist_map(
        centres + 0.05 * rng.normal(size=(60, 16)),
        [artist(n) for n in range(60)],
        perplexity=50,
        total=60,
        seed=0,
    )
    assert drawn.perplexity == pytest.approx(59 / 3)
    distance = np.linalg.norm(drawn.places[:, None] - drawn.places[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (distance.argmin(axis=1) // 20 == np.arange(60) // 20).all()
    assert artist_map(np.eye(4), [artist(n) for n in range(4)], 50, 4, 0) is None


def test_figures_19_to_22() -> None:
    artists = [
        artist(
            n,
            country=None if n == 9 else f"Country {n}",
            genres=["folk"],
            first_year=1890 + n,
            last_year=1890 + n,
        )
        for n in range(10)
    ]
    drawn = ArtistMap(artists, np.arange(20.0).reshape(10, 2), perplexity=3, total=5000)
    section = maps_section(
        drawn,
        {"a0": ["a1", "a2"], "a1": ["a0", "a3"], "a2": ["elsewhere"]},
        ["a0", "not on the map"],
    )
    assert [plot.thesis for plot in section.content] == [
        "Figure 19",
        "Figure 20",
        "Figure 21",
        "Figure 22",
    ]
    assert "10 artists, drawn at random from 5,000" in section.lead
    country, genre, era, around = (plot.content for plot in section.content)
    assert {series.name for series in country.series if series.aside} == {"2 others (2)", "unknown"}
    assert sum(len(series.x) for series in country.series) == 10
    assert [series.name for series in genre.series] == ["folk (10)"]
    assert [series.name for series in era.series] == ["1800s (10)"]
    assert {series.name: len(series.x) for series in around.series} == {
        "all others (6)": 6,
        "related to a related artist": 1,
        "related (2)": 2,
        "Artist 0": 1,
    }
    assert genre.series[0].hover[3] == "Artist 3\nCountry 3\nfolk\n1893"


@pytest.mark.parametrize(
    ("facts", "era"),
    [
        ({"first_year": 1720, "last_year": 1790}, 1700),
        ({"first_year": 1960, "last_year": 1978}, 1960),
        ({"birth_year": 1335}, 1300),
        ({"first_year": 1999, "last_year": 1999, "birth_year": 1960}, 1990),
        ({}, None),
    ],
)
def test_the_era_of_an_artist(facts: dict[str, int], era: int | None) -> None:
    assert era_of(artist(0, **facts)) == era


def test_the_thesis_figures_and_where_they_are() -> None:
    rows = [
        {"artist_id": "a", "genre_top": "jazz", "year": 1950},
        {"artist_id": "a", "genre_top": "rock", "year": 1960},
    ]
    (table,) = counterparts_section([tail_section(*catalog(rows, [{"artist_id": "a"}]))]).content
    where = {row[0]: row[2] for row in table.rows}
    assert list(where)[:8] == [f"Figure {number}" for number in range(1, 9)]
    assert where["Figure 7"] == "Long tail of the catalog: Tracks by genre, and 1 more"
    assert where["Figure 19"] == "not in this run"
    assert where["Table 3"] == "not in this run: jobs/reproduce.py --table 3"


def test_low_pitches_are_at_the_bottom_of_a_mel_image() -> None:
    mel = np.full((256, 643), -80.0, np.float32)
    mel[:64, :100] = 0.0  # a low tone in the first half of what is shown
    grey = np.asarray(Image.open(io.BytesIO(mel_image(mel, frames=200))).convert("L"), np.float64)
    assert grey[100:, :200].mean() > 200
    assert grey[:80].max() < 30
    assert grey[:, 280:].max() < 30


def test_numbers_of_a_table_are_aligned_right() -> None:
    table = Table(
        "t",
        "",
        "",
        ["name", "value", "95 %", "empty"],
        [["a", "1,200", "-0.10 … 0.20", ""], ["b", "", "", ""]],
    )
    assert table.numeric_columns == {1, 2}
    assert [format_number(value) for value in (float("nan"), None, 0.12345)] == ["", "", "0.123"]
    assert format_interval(None) == ""
