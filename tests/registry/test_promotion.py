"""Which version becomes champion: only one with a finite score on enough test artists, and above
the baselines."""

from __future__ import annotations

import math
from pathlib import Path

import mlflow
import pytest

from musicrec.config.sections import RegistrySettings
from musicrec.pipeline.promote import best_baseline
from musicrec.registry import runs as tracking
from musicrec.registry.promotion import Baseline, Decision, decide
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
    decide(model[0], 1, METRIC, 0.73, artists=50)
    decision = decide(model[0], 2, METRIC, score, (1, 0.73), artists=artists)
    assert aliases(model) == {"champion": 1, "challenger": 2}
    assert decision.alias == "challenger"
    assert reason in decision.sentence()
    assert all(math.isfinite(value) for value in decision.metrics().values())


def test_ten_artists_suffice_and_a_champion_without_a_score_is_replaced(
    model: tuple[str, mlflow.MlflowClient],
) -> None:
    decide(model[0], 1, METRIC, 0.5, artists=10)
    decide(model[0], 2, METRIC, 0.2, (1, math.nan), artists=10, baseline=Baseline("ridge", 0.1))
    assert aliases(model) == {"champion": 2}


def test_a_first_version_below_the_best_baseline_is_challenger(
    model: tuple[str, mlflow.MlflowClient],
) -> None:
    ridge = Baseline("ridge", 0.46, (-0.3, -0.1))
    decision = decide(model[0], 1, METRIC, 0.2, artists=14, baseline=ridge)
    assert aliases(model) == {"challenger": 1}
    assert "not above the 0.4600 of ridge, the best baseline" in decision.sentence()
    # A champion that scores NaN does not free its successor from the baseline.
    decide(model[0], 2, METRIC, 0.2, (3, math.nan), artists=14, baseline=ridge)
    assert aliases(model) == {"challenger": 2}
    decide(model[0], 3, METRIC, 0.2, artists=1, baseline=ridge, require_baseline=False)
    assert aliases(model) == {"challenger": 2, "champion": 3}


def test_the_present_champion_registered_again_stays_champion(
    model: tuple[str, mlflow.MlflowClient],
) -> None:
    decide(model[0], 1, METRIC, 0.5, artists=14)
    decision = decide(model[0], 1, METRIC, 0.4, (1, math.nan), artists=14)
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
    baseline = Baseline("popularity", 0.1, interval)
    sentence = Decision(1, "champion", METRIC, 0.12, None, None, baseline).sentence()
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
    assert best.interval == pytest.approx((0.1, 0.1))
    results["ridge"][METRIC] = math.nan
    results["recommendation"]["chance"][METRIC] = 0.3
    best = best_baseline(results, METRIC, {METRIC: 0.45, "by_artist": own}, seed=0)
    assert (best.name, best.score, best.interval) == ("chance", 0.3, None)
    assert best_baseline({}, METRIC, {}, seed=0) is None
