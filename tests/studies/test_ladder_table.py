"""The ladder: which rungs beat the best one before them, by intervals paired over artists."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest

from musicrec.config.jobs import ScoreConfig
from musicrec.config.load import ConfigError, preset
from musicrec.studies.ladder import thesis_rules
from musicrec.studies.ladder_table import CSV_COLUMNS, Rung, to_csv, to_markdown, verdicts

SEEDS, ARTISTS = (0, 1, 2), [f"a{number}" for number in range(20)]


def rung(name: str, mean: float, noise: float = 0.0, artists: list[str] = ARTISTS) -> Rung:
    """Return a rung whose artists have scores of their own, and noise on top."""
    own = np.random.default_rng(1).uniform(-0.1, 0.1, len(artists))
    return Rung(
        name,
        {
            seed: dict(
                zip(
                    artists,
                    (mean + own + np.random.default_rng(seed).normal(0, noise, len(artists))),
                    strict=True,
                )
            )
            for seed in SEEDS
        },
    )


def test_each_rung_is_compared_with_the_best_one_before_it() -> None:
    rungs = [
        rung("chance", 0.1),
        rung("popularity", 0.2),
        rung("ridge", 0.15),
        rung("noisy", 0.21, noise=0.4),
        rung("best", 0.5),
    ]
    compared = [(one.name, other, verdict) for one, other, _, verdict in verdicts(rungs)]
    assert compared[:4] == [
        ("chance", "", ""),
        ("popularity", "chance", "better than chance"),
        ("ridge", "popularity", "worse than popularity"),
        ("noisy", "popularity", "not proven better than popularity"),
    ]
    assert compared[4][2].startswith("better than ")
    text = to_markdown(rungs, 10)
    assert f"| popularity | {np.mean(rungs[1].means()):.3f} ± 0.000 | chance |" in text
    assert "+0.100 (+0.100 to +0.100)" in text
    assert text.rstrip().endswith("Proven better than everything above: popularity, best.")


def test_few_artists_and_no_scores_give_no_verdict() -> None:
    few = ARTISTS[:9]
    rows = verdicts(
        [rung("a", 0.1, artists=few), rung("b", 0.9, artists=few), Rung("c", {0: {"x": math.nan}})]
    )
    assert [verdict for *_, verdict in rows] == ["", "9 test artists say nothing", "no score"]
    assert "c |  |" in to_markdown([rung("a", 0.1), Rung("c", {0: {}})], 10)


def test_the_csv_has_every_rung_seed_and_artist() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv([rung("a", 0.1), rung("b", 0.2)]))))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert len(rows) == 2 * len(SEEDS) * len(ARTISTS)


def scored(**changes: object) -> ScoreConfig:
    demo = {name: value for name, value in vars(preset("demo")).items()}
    return ScoreConfig(**{**demo, **changes})


def test_the_thesis_rules_have_audio_only_and_need_no_other_submodel() -> None:
    rules = thesis_rules(scored())
    assert set(rules.ensemble.branches) == {"chroma", "mfcc", "cqt", "mel"}
    assert set(rules.models) == set(scored().models) - {"lyrics", "albums", "statistics"}
    assert (rules.ensemble.modality_dropout, rules.ranking.members) == (0, ())
    assert all(model.weight_decay == 0 for model in rules.models.values())
    without = scored().models
    with pytest.raises(ConfigError, match="no audio branch"):
        thesis_rules(scored(models={"lyrics": without["lyrics"]}))
