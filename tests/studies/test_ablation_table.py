from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest

from musicrec.evaluation.paired import PairedDifference
from musicrec.studies.ablation_table import (
    CSV_COLUMNS,
    AblationRow,
    SeedScores,
    ablation_rows,
    difference,
    to_csv,
    to_markdown,
)

ARTISTS = [f"artist {number}" for number in range(12)]


def scores(
    seed: int, cosine: float, ndcg: float, artists: list[str] = ARTISTS, targets: str = "table"
) -> SeedScores:
    """Return scores of two tracks per artist, .1 on either side of the artist's own mean."""
    own = np.random.default_rng(0).normal(0, 0.2, len(ARTISTS)).tolist()
    of = dict(zip(ARTISTS, own, strict=True))
    tracks = {
        f"{artist}-{n}": cosine + of[artist] + (0.1 if n else -0.1)
        for artist in artists
        for n in range(2)
    }
    retrieval = {artist: ndcg + of[artist] for artist in artists}
    artist_of = {track: track.rpartition("-")[0] for track in tracks}
    return SeedScores(
        seed,
        {"cosine": tracks, "ndcg@10": retrieval, "recall@10": retrieval},
        artist_of,
        f"{targets} {seed}",
        seconds=30.0,
    )


BASE = [scores(0, 0.3, 0.4), scores(1, 0.4, 0.5)]


def test_a_difference_is_paired_over_what_both_tested() -> None:
    better = [scores(0, 0.4, 0.4), scores(1, 0.5, 0.5, artists=ARTISTS[:6]), scores(2, 9.0, 9.0)]
    result = difference(better, BASE, "cosine")
    assert (result.mean, result.low, result.high) == pytest.approx(
        (0.1, 0.1, 0.1)
    )  # the artists' own means cancel, and seed 2 is not shared
    assert result.artists == 12
    assert difference(better, BASE, "ndcg@10").mean == pytest.approx(0)
    assert difference([scores(2, 1.0, 1.0)], BASE, "cosine") is None


def test_an_interval_is_over_artists_with_all_their_tracks_and_seeds() -> None:
    lucky = [scores(seed, 0.0, 0.0) for seed in (0, 1)]
    values = [{name: dict(of) for name, of in one.values.items()} for one in lucky]
    for of in values:
        of["cosine"] |= {f"artist 0-{n}": of["cosine"][f"artist 0-{n}"] + 1.2 for n in range(2)}
    ours = [
        SeedScores(one.seed, of, one.artist_of, one.targets, one.seconds)
        for one, of in zip(lucky, values, strict=True)
    ]
    result = difference(ours, lucky, "cosine")
    assert result.mean == pytest.approx(0.1)
    assert result.low == pytest.approx(
        0
    )  # one of twelve artists is missing from a third of the resamples
    assert result.high == pytest.approx(0.3, abs=0.11)


def test_cosines_to_other_targets_are_not_compared_but_retrieval_is() -> None:
    ours = [scores(0, 0.9, 0.6, targets="another"), scores(1, 0.9, 0.7, targets="another")]
    assert difference(ours, BASE, "cosine") is None
    assert difference(ours, BASE, "ndcg@10").mean == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("cosine", "ndcg", "verdict"),
    [
        ((0.01, 0.2), (-0.1, 0.1), "helps"),
        ((-0.2, 0.1), (-0.3, -0.1), "hurts"),
        ((-0.2, 0.1), (0.0, 0.1), "within noise"),
        ((0.01, 0.2), (-0.2, -0.01), "mixed"),
        (None, (0.1, 0.2), "helps"),
        (None, None, "not run"),
    ],
)
def test_a_verdict_depends_on_whether_an_interval_excludes_0(
    cosine: tuple[float, float] | None, ndcg: tuple[float, float] | None, verdict: str
) -> None:
    intervals = {"cosine": cosine, "ndcg@10": ndcg}
    differences = {
        name: PairedDifference(sum(ends) / 2, *ends, artists=10)
        for name, ends in intervals.items()
        if ends is not None
    }
    assert AblationRow("row", "", "base", [], differences).verdict == verdict


def test_a_few_artists_or_scores_that_are_not_finite_give_no_verdict() -> None:
    nine = {"ndcg@10": PairedDifference(0.2, 0.1, 0.3, artists=9)}
    assert AblationRow("row", "", "base", [], nine).verdict == "too few test artists"
    nan = [scores(0, math.nan, math.nan), scores(1, math.nan, math.nan)]
    assert difference(nan, BASE, "ndcg@10") is None


def test_the_table_shows_every_row_and_names_the_losers() -> None:
    rows = [
        AblationRow("base", "old rules", None, BASE),
        AblationRow("masks", "masked | frames", "base", [scores(0, 0.4, 0.4), scores(1, 0.5, 0.5)]),
        AblationRow("mixup", "mixed", "base", BASE),
        AblationRow("later", "not yet run", "base", []),
        AblationRow("best", "masks + mixup", "base", [scores(0, 0.4, 0.4), scores(1, 0.5, 0.5)]),
        AblationRow("best without masks", "no masks", "best", BASE),
        AblationRow(
            "best without mixup", "no mixup", "best", [scores(0, 0.4, 0.4), scores(1, 0.5, 0.5)]
        ),
    ]
    result = ablation_rows(rows)
    text = to_markdown(result, (0, 1), "a study")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(rows)
    assert "| masks | masked \\| frames | base | 0." in text
    assert "+0.100 (+0.100 to +0.100)" in lines[3] and lines[3].endswith("| 30 | 2 | helps |")
    assert lines[5] == "| later | not yet run | base | - | - | - | - | - | - | 0 | not run |"
    assert text.splitlines()[-3:] == [
        "Did not help: mixup (within noise).",
        "best without masks: needed.",
        "best without mixup: the change has no effect beyond noise.",
    ]
    table = list(csv.DictReader(io.StringIO(to_csv(result))))
    assert tuple(table[0]) == CSV_COLUMNS
    by_key = {(line["row"], line["metric"]): line for line in table}
    own = np.random.default_rng(0).normal(0, 0.2, len(ARTISTS)).mean()
    assert float(by_key["masks", "cosine"]["mean"]) == pytest.approx(0.45 + own)
    assert float(by_key["masks", "cosine"]["difference"]) == pytest.approx(0.1)
    assert (by_key["later", "cosine"]["mean"], by_key["base", "cosine"]["difference"]) == ("", "")
