"""The weights of a ranking's members recover planted signal, and are 0 where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from musicrec.artists.ranking import POPULARITY, VOTES, Ranking, relation_matrix
from musicrec.evaluation.ranking_weights import choose_weights

ARTISTS, DIMENSIONS, QUERIES = 120, 16, 40


def planted(
    kind: str,
) -> tuple[Ranking, np.ndarray, list[str], np.ndarray, list[str], dict[str, list[str]]]:
    """Artists whose relations follow popularity, or the artists of the nearest tracks, or the
    network's cosine only."""
    generator = np.random.default_rng(0)
    table = generator.normal(size=(ARTISTS, DIMENSIONS)).astype(np.float32)
    ids = [f"a{number}" for number in range(ARTISTS)]
    popular = generator.permutation(ARTISTS)[:12]
    named = [(artist, other) for artist in range(80) for other in popular if artist != other]
    scattered = [
        (artist, int(other)) for artist in range(80) for other in generator.integers(0, ARTISTS, 12)
    ]
    pairs = {"popularity": named, VOTES: scattered}.get(kind, scattered)
    vectors = generator.normal(size=(QUERIES, DIMENSIONS)).astype(np.float32)
    queries = [f"q{number}" for number in range(QUERIES)]
    voters, artists = table[:80], np.arange(80)
    by_cosine = np.argsort(-(vectors @ (table / np.linalg.norm(table, axis=1)[:, None]).T), axis=1)
    if kind == "popularity":
        related = {query: [ids[row] for row in popular] for query in queries}
    elif kind == VOTES:
        lists = {artist: [b for a, b in pairs if a == artist] for artist in range(80)}
        nearest = [next(row for row in order if row < 80) for order in by_cosine]
        related = {
            query: [ids[row] for row in lists[int(artist)]]
            for query, artist in zip(queries, nearest, strict=True)
        }
    else:
        related = {
            query: [ids[row] for row in order[:10]]
            for query, order in zip(queries, by_cosine, strict=True)
        }
    ranking = Ranking(
        {VOTES: 0.0, POPULARITY: 0.0},
        5,
        voters,
        artists,
        relation_matrix(np.array(pairs).T, ARTISTS),
    )
    return ranking, vectors, queries, table, ids, related


@pytest.mark.parametrize("kind", [POPULARITY, VOTES])
def test_a_member_with_signal_gets_a_weight(kind: str) -> None:
    weights, scores = choose_weights(planted(kind)[0], (VOTES, POPULARITY), *planted(kind)[1:], 10)
    assert weights[kind] >= 1
    assert scores["chosen"] > scores["network"] + 0.1
    single, of_it = choose_weights(planted(kind)[0], (kind,), *planted(kind)[1:], 10)
    assert sum(single.values()) == single[kind] >= 1
    assert of_it["chosen"] > scores["network"] + 0.1
    barred, same = choose_weights(planted(kind)[0], (), *planted(kind)[1:], 10)
    assert barred == {VOTES: 0.0, POPULARITY: 0.0}
    assert same["chosen"] == same["network"] == scores["network"]


def test_a_network_that_knows_everything_ranks_by_itself() -> None:
    weights, scores = choose_weights(
        planted("network")[0], (VOTES, POPULARITY), *planted("network")[1:], 10
    )
    assert weights == {VOTES: 0.0, POPULARITY: 0.0}
    assert scores["network"] == pytest.approx(1.0)


def test_without_a_related_artist_all_weights_are_zero() -> None:
    ranking, vectors, queries, table, ids, _ = planted("network")
    weights, scores = choose_weights(ranking, (VOTES,), vectors, queries, table, ids, {}, 10)
    assert weights == {VOTES: 0.0, POPULARITY: 0.0}
    assert np.isnan(scores["network"])
