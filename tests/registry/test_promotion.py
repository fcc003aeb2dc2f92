"""Which version becomes champion: only one with a finite score on enough test artists, and above
the baselines."""

from __future__ import annotations

import json
import math
from pathlib import Path

import mlflow
import pytest

from musicrec.config.sections import RegistrySettings
from musicrec.evaluation.paired import PairedDifference, difference_by_artist
from musicrec.pipeline.promote import best_baseline
from musicrec.pipeline.register import key_settings
from musicrec.registry import runs as tracking
from musicrec.registry.promotion import Baseline, Champion, Decision, decide
from musicrec.storage.store import Store

METRIC = "ndcg@10"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> mlflow.MlflowClient:
    folder = tmp_path_factory.mktemp("registry")
    tracking.connect(RegistrySettings(), Store(str(folder)))
    return mlflow.MlflowClient()


@pytest.fixture
def model(
    registry: mlflow.MlflowClient, request: pytest.FixtureRequest, tmp_path: Path
) -> tuple[str, mlflow.MlflowClient]:
    """A registered model with three versions and no alias."""
    name = request.node.name.partition("[")[0]
    if not registry.search_registered_models(f"name = '{name}'"):
        registry.create_registered_model(name)
        for _ in range(3):
            registry.create_model_version(name, str(tmp_path))
    for alias in dict(registry.get_registered_model(name).aliases):
        registry.delete_registered_model_alias(name, alias)
    return name, registry


def strict(model: tuple[str, mlflow.MlflowClient]) -> RegistrySettings:
    """The conditions as they are by default."""
    return RegistrySettings(model=model[0])


def aliases(model: tuple[str, mlflow.MlflowClient]) -> dict[str, int]:
    name, registry = model
    return dict(registry.get_registered_model(name).aliases)


@pytest.mark.parametrize(
    ("score", "artists", "reason"),
    [
        (math.nan, 50, "its ndcg@10 is nan, because no test artist has a related artist"),
        (math.inf, 50, "its ndcg@10 is inf"),
        (0.9, 9, "its ndcg@10 of 0.9000 comes from 9 test artists, and fewer than 10 say nothing"),
    ],
)
def test_no_score_or_one_of_few_artists_never_takes_over(
    model: tuple[str, mlflow.MlflowClient], score: float, artists: int, reason: str
) -> None:
    decide(strict(model), 1, METRIC, 0.73, artists=50)
    decision = decide(strict(model), 2, METRIC, score, Champion(1, 0.73), artists=artists)
    assert aliases(model) == {"champion": 1, "challenger": 2}
    assert decision.alias == "challenger"
    assert reason in decision.sentence()
    assert all(math.isfinite(value) for value in decision.metrics().values())


def test_ten_artists_suffice_and_a_champion_without_a_score_is_replaced(
    model: tuple[str, mlflow.MlflowClient],
) -> None:
    decide(strict(model), 1, METRIC, 0.5, artists=10)
    decide(
        strict(model),
        2,
        METRIC,
        0.2,
        Champion(1, math.nan),
        artists=10,
        baseline=Baseline("ridge", 0.1),
    )
    assert aliases(model) == {"champion": 2}


def test_a_first_version_below_the_best_baseline_is_challenger(
    model: tuple[str, mlflow.MlflowClient],
) -> None:
    ridge = Baseline("ridge", 0.46, PairedDifference(-0.2, -0.3, -0.1, 14))
    decision = decide(strict(model), 1, METRIC, 0.2, artists=14, baseline=ridge)
    assert aliases(model) == {"challenger": 1}
    assert "not above the 0.4600 of ridge, the best baseline" in decision.sentence()
    # A champion that scores NaN does not free its successor from the baseline.
    decide(
        strict(model),
        2,
        METRIC,
        0.2,
        Champion(3, math.nan),
        artists=14,
        baseline=ridge,
    )
    assert aliases(model) == {"challenger": 2}
    lax = RegistrySettings(model=model[0], require_baseline=False)
    decide(lax, 3, METRIC, 0.2, artists=1, baseline=ridge)
    assert aliases(model) == {"challenger": 2, "champion": 3}


def test_the_present_champion_registered_again_stays_champion(
    model: tuple[str, mlflow.MlflowClient],
) -> None:
    decide(strict(model), 1, METRIC, 0.5, artists=14)
    decision = decide(strict(model), 1, METRIC, 0.4, Champion(1, math.nan), artists=14)
    assert aliases(model) == {"champion": 1}
    assert decision.sentence() == "version 1 stays champion (ndcg@10 0.4000)"


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((-0.01, 0.05), "; not proven better than popularity with 0.1000"),
        ((0.01, 0.05), "; better than popularity with 0.1000"),
    ],
)
def test_the_sentence_says_whether_it_is_proven_better(
    interval: tuple[float, float], words: str
) -> None:
    baseline = Baseline("popularity", 0.1, PairedDifference(0.02, *interval, 14))
    sentence = Decision(1, "champion", METRIC, 0.12, None, baseline).sentence()
    assert sentence.startswith("version 1 is the first and becomes champion (ndcg@10 0.1200)")
    assert words in sentence
    assert f"{interval[0]:+.4f} to {interval[1]:+.4f}" in sentence


def test_the_best_baseline_is_paired_with_the_version_over_test_artists() -> None:
    own = {f"a{number}": 0.1 * number for number in range(10)}
    results = {
        "popularity": {METRIC: 0.2, "by_artist": dict.fromkeys(own, 0.2)},
        # Each artist's score is 0.1 below the version's: so is every resampled mean.
        "ridge": {METRIC: 0.35, "by_artist": {name: value - 0.1 for name, value in own.items()}},
        "recommendation": {"chance": {METRIC: 0.05}},
    }
    best = best_baseline(results, METRIC, {METRIC: 0.45, "by_artist": own}, seed=0)
    assert (best.name, best.score) == ("ridge", 0.35)
    assert (best.difference.low, best.difference.high) == pytest.approx((0.1, 0.1))
    assert (best.difference.artists, best.difference.won) == (10, 10)
    results["ridge"][METRIC] = math.nan
    results["recommendation"]["chance"][METRIC] = 0.3
    scores = {METRIC: 0.45, "by_artist": own, "chance_by_artist": dict.fromkeys(own, 0.3)}
    best = best_baseline(results, METRIC, scores, seed=0)
    assert (best.name, best.score) == ("chance", 0.3)
    assert best.difference.mean == pytest.approx(0.15)
    assert best_baseline({}, METRIC, {}, seed=0) is None


def champion(version: int, score: float, ours: list[float], theirs: list[float]) -> Champion:
    """The champion with its scores by artist, paired with those of the new version."""
    names = [f"a{number}" for number in range(len(ours))]
    difference = difference_by_artist(
        dict(zip(names, ours, strict=True)), dict(zip(names, theirs, strict=True))
    )
    return Champion(version, score, difference)


PROVEN = Baseline("popularity", 0.1, PairedDifference(0.2, 0.1, 0.3, 20))


@pytest.mark.parametrize(
    ("ours", "margin", "alias", "words"),
    [
        # The same loss on every artist has an interval without width.
        ([0.46] * 20, 0.05, "champion", "is not worse than the 0.5000 of champion version 1"),
        ([0.44] * 20, 0.05, "challenger", "is worse than the 0.5000 of champion version 1"),
        ([0.44] * 20, 0.07, "champion", "by more than 0.07 (registry.margin; 95 % interval"),
        # A higher mean from one artist of four proves nothing: the interval is wide.
        ([0.3, 0.3, 0.3, 1.5] * 5, 0.05, "challenger", "may be worse than the 0.5000 of champion"),
        ([0.5] * 20, 0.0, "champion", "is not worse than"),
    ],
)
def test_the_lower_end_of_the_paired_interval_decides_against_the_champion(
    model: tuple[str, mlflow.MlflowClient],
    ours: list[float],
    margin: float,
    alias: str,
    words: str,
) -> None:
    decide(strict(model), 1, METRIC, 0.5, artists=20)
    decision = decide(
        RegistrySettings(model=model[0], margin=margin),
        2,
        METRIC,
        sum(ours) / len(ours),
        champion(1, 0.5, ours, [0.5] * 20),
        artists=20,
        baseline=PROVEN,
    )
    assert (decision.alias, aliases(model)[alias]) == (alias, 2)
    assert words in decision.sentence()
    assert decision.metrics()["difference_from_champion_low"] == decision.champion.difference.low


def test_a_version_not_proven_better_than_the_baseline_does_not_replace_a_champion(
    model: tuple[str, mlflow.MlflowClient],
) -> None:
    decide(strict(model), 1, METRIC, 0.5, artists=20)
    unproven = Baseline("popularity", 0.5, PairedDifference(0.1, -0.01, 0.2, 20))
    better = champion(1, 0.5, [0.6] * 20, [0.5] * 20)
    decision = decide(strict(model), 2, METRIC, 0.6, better, artists=20, baseline=unproven)
    assert aliases(model) == {"champion": 1, "challenger": 2}
    assert (
        "its ndcg@10 of 0.6000 is not proven better than popularity with 0.5000 (95 % interval of "
        "the difference -0.0100 to +0.2000 over 20 artists) (registry.require_baseline)"
    ) in decision.sentence()
    lax = RegistrySettings(model=model[0], require_baseline=False)
    assert decide(lax, 3, METRIC, 0.6, better, artists=20, baseline=unproven).alias == "champion"


def test_the_evidence_is_json_and_has_the_scores_that_decided() -> None:
    scores = {"version": {"a": 0.5, "b": math.nan}, "champion": {"a": 0.25}}
    decision = Decision(2, "champion", METRIC, 0.5, Champion(1, 0.25), by_artist=scores)
    evidence = json.loads(json.dumps(decision.evidence(), allow_nan=False))
    assert evidence["by_artist"] == {"version": {"a": 0.5, "b": None}, "champion": {"a": 0.25}}
    assert evidence["decision"] == decision.sentence()


def test_a_margin_by_default_leaves_the_keys_of_older_registrations_unchanged() -> None:
    older = {"tracking_uri": None, "experiment": "musicrec", "model": "musicrec", "segments": 1}
    assert key_settings(RegistrySettings()) == older
    assert key_settings(RegistrySettings(margin=0.1)) == older | {"margin": 0.1}
