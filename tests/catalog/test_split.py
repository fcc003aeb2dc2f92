"""Splits keep artists apart and shares alike, and depend only on the seed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from musicrec.catalog.split import artist_split, split_report, track_labels
from musicrec.schema import ARTISTS, SPLITS, TRACKS, conform


def long_tailed(tracks: int, artists: int, seed: int = 0) -> tuple[pa.Table, pa.Table]:
    """Make a catalog: a few artists, genres and countries have many tracks, many have few."""
    random = np.random.default_rng(seed)
    artist = random.permutation(artists)[
        (random.pareto(1.2, tracks) * artists / 20).astype(int) % artists
    ]
    genre = np.minimum((random.pareto(1, artists) * 3).astype(int), 99)
    country = np.minimum((random.pareto(1, artists) * 2).astype(int), 49)
    year = random.integers(1930, 2010, artists)[artist] + random.integers(0, 9, tracks)
    table = {
        "track_id": [f"t{index}" for index in range(tracks)],
        "artist_id": [f"a{index}" for index in artist],
        "audio": ["a.mp3"] * tracks,
        "year": pa.array(year, pa.int32()),
        "genres": [[f"g{genre[index]}", "any"] for index in artist],
        "split": ["train"] * tracks,
    }
    people = {
        "artist_id": [f"a{i}" for i in range(artists)],
        "country": [f"c{i}" for i in country],
        "genres": [[]] * artists,
    }
    return conform(pa.table(table), TRACKS, "tracks"), conform(pa.table(people), ARTISTS, "artists")


def with_split(tracks: pa.Table, split: pa.Array) -> pa.Table:
    index = tracks.schema.get_field_index("split")
    return tracks.set_column(index, tracks.schema.field(index), split)


def catalog_of(sizes: list[int], **columns: list) -> tuple[pa.Table, pa.Table]:
    """Make artists a0, a1, ... with these numbers of tracks.

    ``columns`` give one value per artist.
    """
    artist = np.repeat(np.arange(len(sizes)), sizes)
    table = {
        "track_id": [str(index) for index in range(len(artist))],
        "artist_id": [f"a{index}" for index in artist],
        "audio": ["a.mp3"] * len(artist),
        "genres": pa.array([[]] * len(artist), pa.list_(pa.string())),
        "split": ["train"] * len(artist),
        **{
            name: [values[index] for index in artist]
            for name, values in columns.items()
            if name != "country"
        },
    }
    country = columns.get("country", [None] * len(sizes))
    names = [f"a{index}" for index in range(len(sizes))]
    people = {
        "artist_id": names,
        "country": pa.array(country, pa.string()),
        "genres": [[]] * len(sizes),
    }
    return conform(pa.table(table), TRACKS, "tracks"), conform(pa.table(people), ARTISTS, "artists")


def test_an_artist_is_in_one_split_and_the_sizes_are_met() -> None:
    tracks, artists = long_tailed(20_000, 3_000)
    split = artist_split(tracks, artists, seed=3)
    homes: dict[str, set[str]] = {}
    for artist, name in zip(tracks["artist_id"].to_pylist(), split.to_pylist(), strict=True):
        homes.setdefault(artist, set()).add(name)
    assert {len(home) for home in homes.values()} == {1}
    report = split_report(with_split(tracks, split), artists)
    shares = [report["tracks"][name] / tracks.num_rows for name in SPLITS]
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.002)
    people = np.array([report["artists"][name] for name in SPLITS])
    np.testing.assert_allclose(
        people / people.sum(), [0.8, 0.1, 0.1], atol=0.04
    )  # not all small artists in the small splits


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shares_are_far_more_alike_than_by_drawing_artists(seed: int) -> None:
    tracks, artists = long_tailed(20_000, 3_000, seed)
    names = tracks["artist_id"].unique().to_pylist()
    drawn = dict(
        zip(
            names,
            np.random.default_rng(seed).choice(SPLITS, len(names), p=(0.8, 0.1, 0.1)),
            strict=True,
        )
    )
    by_chance = pa.array([drawn[name] for name in tracks["artist_id"].to_pylist()])
    stratified = artist_split(tracks, artists, seed=seed)
    ours, chance = (
        split_report(with_split(tracks, split), artists)["ratios"]
        for split in (stratified, by_chance)
    )
    for kind, values in track_labels(tracks, artists).items():
        holders: dict[str, set[str]] = {}
        for label, artist in zip(values.to_pylist(), tracks["artist_id"].to_pylist(), strict=True):
            holders.setdefault(label, set()).add(artist)
        spreadable = [
            label for label, names in holders.items() if len(names) >= 10
        ]  # 1 / smallest fraction
        assert len(spreadable) > 5
        largest = [
            max(np.ptp(list(ratios[kind][label].values())) for label in spreadable)
            for ratios in (ours, chance)
        ]
        assert largest[0] < min(0.03, largest[1] / 3)


def test_order_of_rows_does_not_matter_and_the_seed_does() -> None:
    tracks, artists = long_tailed(3_000, 400)
    random = np.random.default_rng(1)
    order = random.permutation(tracks.num_rows)
    split = artist_split(tracks, artists, seed=5)
    shuffled = artist_split(
        tracks.take(order), artists.take(random.permutation(artists.num_rows)), seed=5
    )
    assert shuffled.equals(split.take(pa.array(order)))
    assert not artist_split(tracks, artists, seed=6).equals(split)


@pytest.mark.parametrize("sizes", [[10, 10, 10], [1000, 1, 1], [1, 1, 1, 1], [500, 2, 2, 2]])
def test_each_split_has_an_artist_when_there_are_three(sizes: list[int]) -> None:
    for seed in range(5):
        split = artist_split(*catalog_of(sizes), seed=seed)
        assert set(split.to_pylist()) == set(SPLITS)
        if max(sizes) > 3 * min(sizes):
            assert split[0].as_py() == "train"  # the artist who is most of the catalog


def test_splits_of_two_artists_and_of_none() -> None:
    assert len(set(artist_split(*catalog_of([3, 3]), seed=0).to_pylist())) == 2
    assert artist_split(*catalog_of([]), seed=0).to_pylist() == []


def test_rare_labels_do_not_empty_the_small_splits() -> None:
    count = 200
    labels = [f"label{index}" for index in range(count)]
    tracks, artists = catalog_of([5] * count, genre_top=labels, country=labels)
    report = split_report(with_split(tracks, artist_split(tracks, artists, seed=0)), artists)
    assert report["artists"] == {"train": 160, "validation": 20, "test": 20}


def test_fractions_are_of_tracks_and_checked() -> None:
    tracks, artists = catalog_of([4] * 100)
    report = split_report(
        with_split(tracks, artist_split(tracks, artists, (0.5, 0.25, 0.25), seed=0)), artists
    )
    assert report["tracks"] == {"train": 200, "validation": 100, "test": 100}
    for fractions in ((0.8, 0.2), (0.8, 0.3, 0.1), (1.0, 0.0, 0.0)):
        with pytest.raises(ValueError, match="fractions"):
            artist_split(tracks, artists, fractions, seed=0)


def test_labels_of_tracks() -> None:
    tracks, artists = catalog_of(
        [1, 1, 1, 1],
        genre_top=["folk", None, None, None],
        genres=[["dance"], ["court", "dance"], [], []],
        year=[1998, 1725, 900, None],
        country=["France", None, "Peru", "Mali"],
    )
    labels = track_labels(tracks, artists.take([3, 1, 0]))  # a2 has no row among the artists
    assert {kind: values.to_pylist() for kind, values in labels.items()} == {
        "genre": ["folk", "court", None, None],
        "country": ["France", None, None, "Mali"],
        "era": ["1990s", "1700s", "900s", None],
    }


def test_report_counts_shares_and_their_largest_difference() -> None:
    tracks, artists = catalog_of(
        [2, 1, 1], genre_top=["folk", "folk", "court"], country=["France", None, "Peru"]
    )
    tracks = with_split(tracks, pa.array(["train", "train", "validation", "test"]))
    report = split_report(tracks, artists)
    assert report["tracks"] == {"train": 2, "validation": 1, "test": 1}
    assert report["artists"] == {"train": 1, "validation": 1, "test": 1}
    assert report["ratios"]["genre"]["folk"] == {"train": 1.0, "validation": 1.0, "test": 0.0}
    assert report["ratios"]["country"] == {
        "France": {"train": 1.0, "validation": 0.0, "test": 0.0},
        "Peru": {"train": 0.0, "validation": 0.0, "test": 1.0},
    }
    assert report["ratios"]["era"] == {}
    assert report["largest_difference"] == {
        "genre": {"label": "court", "difference": 1.0},
        "country": {"label": "France", "difference": 1.0},
    }


def test_a_catalog_that_grew_keeps_its_splits_and_new_artists_fill_them_up() -> None:
    tracks, artists = long_tailed(20_000, 3_000)
    names = tracks["artist_id"].unique().to_pylist()
    old = set(np.random.default_rng(2).choice(names, len(names) * 10 // 11, replace=False).tolist())
    before = tracks.filter(pc.is_in(tracks["artist_id"], pa.array(sorted(old))))
    kept = dict(
        zip(
            before["artist_id"].to_pylist(),
            artist_split(before, artists, seed=3).to_pylist(),
            strict=True,
        )
    )
    split = artist_split(tracks, artists, seed=3, kept=kept | {"gone": "test"})
    now = dict(zip(tracks["artist_id"].to_pylist(), split.to_pylist(), strict=True))
    assert {artist: now[artist] for artist in kept} == kept
    assert not artist_split(tracks, artists, seed=3).equals(
        split
    )  # made anew, some of them would have moved
    new = split_report(with_split(tracks, split), artists)
    np.testing.assert_allclose(
        [new["tracks"][name] / tracks.num_rows for name in SPLITS], [0.8, 0.1, 0.1], atol=0.002
    )
    assert {now[artist] for artist in now.keys() - kept.keys()} == set(SPLITS)


def test_an_empty_split_takes_a_new_artist_and_never_a_kept_one() -> None:
    tracks, artists = catalog_of([5, 4, 3, 2, 1])
    kept = {"a0": "train", "a1": "train", "a2": "train"}
    split = dict(
        zip(
            tracks["artist_id"].to_pylist(),
            artist_split(tracks, artists, seed=0, kept=kept).to_pylist(),
            strict=True,
        )
    )
    assert {name: split[name] for name in kept} == kept
    assert {split["a3"], split["a4"]} == {"validation", "test"}
    everyone = {name: "train" for name in split}
    assert set(artist_split(tracks, artists, seed=0, kept=everyone).to_pylist()) == {"train"}
