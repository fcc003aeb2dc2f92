from __future__ import annotations

from typing import Any

import pytest

from musicrec.evaluation.thesis import TABLE_3, TABLE_5, TABLE_6
from musicrec.report.headline import headline
from musicrec.report.results import results_section
from musicrec.report.scores import Scored, bounds_of, metrics_of

ARTISTS = [f"artist-{number}" for number in range(20)]


def scores(ndcg: float, **more: Any) -> dict[str, Any]:
    by_artist = {artist: ndcg + 0.01 * (number % 3) for number, artist in enumerate(ARTISTS)}
    return {
        "tracks": 40,
        "artists": 20,
        "ndcg@10": ndcg,
        "cosine": ndcg,
        "cosine_interval": [ndcg - 0.1, ndcg + 0.1],
    } | {
        "recall@10": ndcg / 2,
        "mrr": 0.5,
        "by_artist": by_artist,
        **more,
    }


def scored(ensemble: dict[str, Any], **baselines: dict[str, Any]) -> Scored:
    results = {
        "mel.time": scores(0.3),
        "recommendation": ensemble | {"chance": {"ndcg@10": 0.1}},
        **baselines,
    }
    trained = {"mel.time": (0.35, 7), "recommendation": (0.5, 12)}
    return Scored(results, trained, "recommendation", metrics_of("embedding", 10), TABLE_6, seed=0)


@pytest.mark.parametrize(
    ("ndcg", "begins"),
    [
        (
            0.6,
            "Better than the baselines: recommendation beats ridge, the best baseline, "
            "by 0.200 NDCG@10.",
        ),
        (
            0.2,
            "Not better than the baselines: recommendation falls short of ridge, the best "
            "baseline, by 0.200 NDCG@10.",
        ),
    ],
)
def test_the_headline_says_whether_it_is_better_than_the_best_baseline(
    ndcg: float, begins: str
) -> None:
    sentence, cards = headline(
        scored(scores(ndcg), ridge=scores(0.4), random=scores(0.1)),
        "20 artists, 40 of 41 test tracks",
    )
    assert sentence == begins
    assert [card.value for card in cards] == [
        f"{ndcg:.3f}",
        f"{ndcg - 0.4:+.3f}",
        f"{ndcg:.3f}",
        "20 artists",
    ]
    assert "ridge: 0.400, chance: 0.100" in cards[0].note
    assert ("better on 20 artists" if ndcg > 0.4 else "worse on 20") in cards[1].note


def test_a_difference_whose_interval_includes_none_is_not_called_better() -> None:
    mixed = scores(0.5)
    mixed["by_artist"] = {
        artist: 0.4 + (0.4 if number < 12 else -0.4) for number, artist in enumerate(ARTISTS)
    }
    ridge = scores(0.4)
    ridge["by_artist"] = dict.fromkeys(ARTISTS, 0.4)
    sentence, cards = headline(scored(mixed, ridge=ridge), "20 artists, 40 test tracks")
    assert sentence.startswith(
        "Not proven better than the baselines: recommendation is ahead of ridge"
    )
    assert cards[1].note.endswith("better on 12 artists, equal on 0, worse on 8")


def test_of_losses_the_lower_is_better() -> None:
    def loss(mse: float) -> dict[str, Any]:
        return {
            "tracks": 9,
            "mse": mse,
            "mse_interval": [mse - 0.001, mse + 0.001],
            "hamming": mse,
            "map_macro": 0.5,
        }

    results = {
        "mel.time": loss(0.015),
        "label shares": loss(0.02),
        "logistic regression": loss(0.018),
    }
    of_losses = Scored(
        results, {"mel.time": (0.1, 3)}, "mel.time", metrics_of("many_genres", 10), TABLE_5, seed=0
    )
    assert of_losses.baselines == ["label shares", "logistic regression"]
    assert headline(of_losses, "3 artists, 9 test tracks")[0].startswith(
        "Better than the baselines: mel.time beats logistic regression"
    )


def test_the_table_has_baselines_models_and_the_thesis_value() -> None:
    table = results_section(scored(scores(0.6), ridge=scores(0.4), random=scores(0.1)), "").content[
        0
    ]
    lines = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert list(lines) == ["chance (exact)", "random", "ridge", "mel.time", "recommendation"]
    assert lines["recommendation"]["thesis: mean cosine"] == "0.567"
    assert lines["recommendation"]["95 %"] == "0.50 … 0.70"
    assert lines["recommendation"]["epochs"] == "12"
    assert lines["ridge"]["thesis: mean cosine"] == ""
    assert [row for number, row in enumerate(table.rows) if number in table.strong] == [
        table.rows[4]
    ]
    assert table.breaks == {2}


def test_further_metrics_of_an_evaluation_are_shown() -> None:
    more = {
        "ndcg@200": 0.71,
        "coverage@10": 0.25,
        "intervals": {"ndcg@10": [0.5, 0.7], "ndcg@200": [0.6, 0.8]},
    }
    more |= {
        "head": {"artists": 5, "ndcg@10": 0.8, "chance": {"ndcg@10": 0.3}},
        "tail": {"artists": 0},
    }
    more |= {
        "levels": {"track": {"queries": 40, "ndcg@10": 0.55, "intervals": {"ndcg@10": [0.4, 0.6]}}}
    }
    whole = scored(scores(0.6, **more), ridge=scores(0.4))
    tables = {item.name: item for item in results_section(whole, "").content}
    assert tables["more-scores"].columns == ["metric", "recommendation", "95 %", "ridge", "chance"]
    assert tables["more-scores"].rows == [
        ["ndcg@200", "0.710", "0.60 … 0.80", "", ""],
        ["coverage@10", "0.250", "", "", ""],
    ]
    assert "Coverage is" in tables["more-scores"].reading
    assert tables["parts"].columns == [
        "part",
        "queries",
        "NDCG@10",
        "95 % of NDCG@10",
        "chance: NDCG@10",
    ]
    assert tables["parts"].rows == [
        ["query: track", "40", "0.550", "0.40 … 0.60", ""],
        ["related artists: most named", "5", "0.800", "", "0.300"],
    ]
    assert bounds_of(whole.scores, "ndcg@10") == (0.5, 0.7)
    assert [column for column in tables["table-6"].columns if column == "95 %"] == ["95 %"] * 2


def test_a_run_without_a_test_prediction_says_so() -> None:
    nothing = Scored(
        {"mel.time": {"tracks": 0}},
        {"mel.time": (0.1, 2)},
        "mel.time",
        metrics_of("single_genre", 10),
        TABLE_3,
        seed=0,
    )
    assert (
        headline(nothing, "0 artists, 0 test tracks")[0]
        == "No test track could be scored with mel.time."
    )
    assert results_section(nothing, "").content[0].rows == [
        ["mel.time", "", "", "0.620", "0", "0.100", "2"]
    ]
