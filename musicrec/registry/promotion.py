"""Decide which registered version serves: the champion, unless a newer version scores as well."""

from __future__ import annotations

import math
from dataclasses import dataclass

from musicrec.catalog.joins import MINIMUM_TEST_ARTISTS
from musicrec.registry.versions import check_version
from musicrec.serving.recommender import Recommender

CHAMPION, CHALLENGER = "champion", "challenger"
# Runs of one configuration differ in the last digits of float32 sums; neither is worse.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Baseline:
    """The best baseline on the same test artists.

    ``interval`` is the 95 % interval of a version's mean difference to it, paired over the test
    artists, or None if the baseline has no scores per artist.
    """

    name: str
    score: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Decision:
    """The alias that a new version received, and the scores that decided it.

    ``champion_version`` and ``champion_score`` are None if there was no champion to compare with.
    ``refusal`` is the reason why the version did not become champion, if it is not a lower score
    than the champion's.
    """

    version: int
    alias: str
    metric: str
    score: float
    champion_version: int | None
    champion_score: float | None
    baseline: Baseline | None = None
    refusal: str | None = None
    unchanged: bool = False

    def sentence(self) -> str:
        """Describe the decision in one sentence."""
        if self.refusal is not None:
            return f"version {self.version} becomes {self.alias}, not {CHAMPION}: {self.refusal}"
        if self.unchanged:
            return (
                f"version {self.version} stays {CHAMPION} ({self.metric} {self.score:.4f})"
                f"{self._proof()}"
            )
        if self.champion_score is None:
            return (
                f"version {self.version} is the first and becomes {CHAMPION} "
                f"({self.metric} {self.score:.4f}){self._proof()}"
            )
        relation = "not worse than" if self.alias == CHAMPION else "worse than"
        return (
            f"version {self.version} becomes {self.alias}: its {self.metric} of {self.score:.4f} "
            f"is {relation} the {self.champion_score:.4f} of champion version "
            f"{self.champion_version} on the same test artists"
        )

    def _proof(self) -> str:
        """Return whether the version is proven better than the best baseline."""
        if self.baseline is None or self.baseline.interval is None:
            return ""
        low, high = self.baseline.interval
        better = "better" if low > 0 else "not proven better"
        return (
            f"; {better} than {self.baseline.name} with {self.baseline.score:.4f} "
            f"(95 % interval of the difference {low:+.4f} to {high:+.4f})"
        )

    def metrics(self) -> dict[str, float]:
        """Return the compared scores that are finite, under names that MLflow accepts."""
        name = self.metric.replace("@", "_at_")
        scores = {
            f"compared_{name}": self.score,
            f"compared_{name}_of_champion": self.champion_score,
        }
        return {
            name: value
            for name, value in scores.items()
            if value is not None and math.isfinite(value)
        }


def refusal(
    metric: str,
    score: float,
    artists: int,
    baseline: Baseline | None,
    has_champion: bool,
    require_baseline: bool,
) -> str | None:
    """Return the reason why a version may not become champion whatever the champion's score is.

    Its score is not finite; or, unless ``require_baseline`` is off, it comes from fewer than
    ``MINIMUM_TEST_ARTISTS`` test artists, or there is no champion and the score is not above the
    best baseline's.
    """
    if not math.isfinite(score):
        return (
            f"its {metric} is {score}, because no test artist has a related artist among the "
            "candidates, or no prediction"
        )
    if not require_baseline:
        return None
    if artists < MINIMUM_TEST_ARTISTS:
        return (
            f"its {metric} of {score:.4f} comes from {artists} test artists, and fewer than "
            f"{MINIMUM_TEST_ARTISTS} say nothing (registry.require_baseline)"
        )
    if has_champion or baseline is None or score > baseline.score:
        return None
    return (
        f"its {metric} of {score:.4f} is not above the {baseline.score:.4f} of {baseline.name}, "
        "the best baseline, and there is no champion (registry.require_baseline)"
    )


def decide(
    model: str,
    version: int,
    metric: str,
    score: float,
    champion: tuple[int, float] | None = None,
    *,
    artists: int,
    baseline: Baseline | None = None,
    require_baseline: bool = True,
) -> Decision:
    """Choose the alias of a new version and set it in the registry.

    A version that ``refusal`` names is challenger. Another becomes champion if there is no other
    champion, if it scores as well within ``TOLERANCE``, or if the champion's score is not finite.
    A version that is champion already stays it.

    Parameters
    ----------
    model
        The registered model's name.
    metric, score
        The name and value of the metric that decides; larger is better.
    champion
        The present champion's version and its score on the same queries and candidates (NaN if it
        is ``version`` itself); None if there is none.
    artists
        The test artists that have a score.
    baseline
        The best baseline, for a version that has no champion to beat.
    """
    import mlflow

    champion_number, champion_score = champion or (None, None)
    if champion_number == version:
        return Decision(version, CHAMPION, metric, score, None, None, baseline, unchanged=True)
    beatable = champion_score is not None and math.isfinite(champion_score)
    reason = refusal(metric, score, artists, baseline, beatable, require_baseline)
    worse = beatable and not score >= champion_score - TOLERANCE
    alias = CHALLENGER if reason is not None or worse else CHAMPION
    mlflow.MlflowClient().set_registered_model_alias(model, alias, version)
    return Decision(
        version, alias, metric, score, champion_number, champion_score, baseline, reason
    )


def champion_version(model: str) -> int | None:
    """Return the version that has the alias ``champion``, or None."""
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    aliases = (
        client.get_registered_model(model).aliases
        if client.search_registered_models(f"name = '{model}'")
        else {}
    )
    if CHAMPION not in aliases:
        return None
    try:
        return int(client.get_model_version_by_alias(model, CHAMPION).version)
    except MlflowException as error:
        raise RuntimeError(
            f"the registry names a champion of '{model}' that it cannot return: {error}; "
            "delete the alias or restore the version"
        ) from error


def load_version(model: str, version: int) -> tuple[Recommender, str]:
    """Return the recommender of a registered version, and its unique source in MLflow."""
    import mlflow

    source = mlflow.MlflowClient().get_model_version(model, str(version)).source
    uri = f"models:/{model}/{version}"
    loaded = mlflow.pyfunc.load_model(uri).unwrap_python_model()
    check_version(uri, getattr(loaded, "digest", None))
    return loaded.recommender, source
