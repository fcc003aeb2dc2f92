"""Decide which registered version serves: the champion, unless a newer version is as good.

A new version replaces the champion by evidence: the 95 % interval of their difference, paired over
the test artists, is above minus a margin, and its difference from the best baseline above 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from musicrec.catalog.joins import MINIMUM_TEST_ARTISTS
from musicrec.config.sections import RegistrySettings
from musicrec.evaluation.paired import PairedDifference
from musicrec.registry.versions import check_version
from musicrec.serving.recommender import Recommender

CHAMPION, CHALLENGER = "champion", "challenger"
# Runs of one configuration differ in the last digits of float32 sums; neither is worse.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Baseline:
    """The best baseline on the same test artists.

    ``difference`` is that of the new version from it, paired over the test artists; None if either
    has no scores by artist.
    """

    name: str
    score: float
    difference: PairedDifference | None = None


@dataclass(frozen=True)
class Champion:
    """The version that serves now, on the same test artists; ``difference`` as in ``Baseline``.

    The score is NaN if it is the new version itself.
    """

    version: int
    score: float
    difference: PairedDifference | None = None


@dataclass(frozen=True)
class Decision:
    """The alias that a new version received, and the scores that decided it.

    ``champion`` is None if there was none to compare with. ``refusal`` is the reason why the
    version did not become champion, if it is not its difference from the champion. ``by_artist``
    has the scores by test artist that were compared, of "version", "champion" and "baseline".
    """

    version: int
    alias: str
    metric: str
    score: float
    champion: Champion | None = None
    baseline: Baseline | None = None
    refusal: str | None = None
    unchanged: bool = False
    margin: float = 0.0
    by_artist: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def sentence(self) -> str:
        """Describe the decision in one sentence."""
        if self.refusal is not None:
            return f"version {self.version} becomes {self.alias}, not {CHAMPION}: {self.refusal}"
        if self.unchanged:
            return (
                f"version {self.version} stays {CHAMPION} ({self.metric} {self.score:.4f})"
                f"{self._proof()}"
            )
        if self.champion is None:
            return (
                f"version {self.version} is the first and becomes {CHAMPION} "
                f"({self.metric} {self.score:.4f}){self._proof()}"
            )
        return (
            f"version {self.version} becomes {self.alias}: its {self.metric} of {self.score:.4f} "
            f"{self._relation(self.champion)}{self._proof()}"
        )

    def _relation(self, champion: Champion) -> str:
        """Return how the version compares with the champion, and by which interval."""
        other = (
            f"the {champion.score:.4f} of champion version {champion.version} on the same test "
            "artists"
        )
        by = f"by more than {self.margin:g} (registry.margin"
        by += f"; {champion.difference.interval()})" if champion.difference else ")"
        if self.alias == CHAMPION:
            return f"is not worse than {other} {by}"
        if champion.difference is None or champion.difference.high < -self.margin:
            return f"is worse than {other} {by}"
        return f"may be worse than {other} {by}"

    def _proof(self) -> str:
        """Return whether the version is proven better than the best baseline."""
        if self.baseline is None or self.baseline.difference is None:
            return ""
        return f"; {comparison(self.baseline)}"

    def evidence(self) -> dict[str, Any]:
        """Return all that decided, as JSON can write it; an artist without a score has None."""
        scores = {
            name: {
                artist: value if math.isfinite(value) else None for artist, value in each.items()
            }
            for name, each in self.by_artist.items()
        }
        return {
            "version": self.version,
            "alias": self.alias,
            "decision": self.sentence(),
            "metric": self.metric,
            "margin": self.margin,
            **self.metrics(),
            "by_artist": scores,
        }

    def metrics(self) -> dict[str, float]:
        """Return the compared scores that are finite, under names that MLflow accepts."""
        name = self.metric.replace("@", "_at_")
        scores: dict[str, float | None] = {f"compared_{name}": self.score}
        for kind, other in (("champion", self.champion), ("baseline", self.baseline)):
            if other is not None:
                scores[f"compared_{name}_of_{kind}"] = other.score
            if other is not None and other.difference is not None:
                scores[f"difference_from_{kind}_low"] = other.difference.low
                scores[f"difference_from_{kind}_high"] = other.difference.high
        return {
            name: value
            for name, value in scores.items()
            if value is not None and math.isfinite(value)
        }


def comparison(baseline: Baseline) -> str:
    """Return whether a version is better than a baseline, for instance "not proven better"."""
    difference = baseline.difference
    verdict = "not proven better" if difference is None else difference.verdict
    interval = "" if difference is None else f" ({difference.interval()})"
    return f"{verdict} than {baseline.name} with {baseline.score:.4f}{interval}"


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
    ``MINIMUM_TEST_ARTISTS`` test artists, or it does not beat the best baseline. To replace a
    champion it must be proven better than the baseline; where there is none, and something has to
    serve, a higher score suffices.
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
    if baseline is None:
        return None
    if has_champion:
        is_beaten = baseline.difference is not None and baseline.difference.better
        reason = f"its {metric} of {score:.4f} is {comparison(baseline)}"
    else:
        is_beaten = score > baseline.score
        reason = (
            f"its {metric} of {score:.4f} is not above the {baseline.score:.4f} of "
            f"{baseline.name}, the best baseline, and there is no champion"
        )
    return None if is_beaten else f"{reason} (registry.require_baseline)"


def decide(
    settings: RegistrySettings,
    version: int,
    metric: str,
    score: float,
    champion: Champion | None = None,
    *,
    artists: int,
    baseline: Baseline | None = None,
) -> Decision:
    """Choose the alias of a new version and set it in the registry.

    A version that ``refusal`` names is challenger. Another becomes champion if there is no other
    champion, if the champion's score is not finite, or if it is not worse than the champion by
    more than ``settings.margin`` (see ``is_worse``). A version that is champion already stays it.

    Parameters
    ----------
    settings
        The registered model's name, and the conditions.
    metric, score
        The name and value of the metric that decides; larger is better.
    champion
        The present champion, on the same queries and candidates; None if there is none.
    artists
        The test artists that have a score.
    baseline
        The best baseline.
    """
    import mlflow

    if champion is not None and champion.version == version:
        return Decision(version, CHAMPION, metric, score, None, baseline, unchanged=True)
    beatable = champion is not None and math.isfinite(champion.score)
    reason = refusal(metric, score, artists, baseline, beatable, settings.require_baseline)
    worse = beatable and is_worse(score, champion, settings.margin)
    alias = CHALLENGER if reason is not None or worse else CHAMPION
    mlflow.MlflowClient().set_registered_model_alias(settings.model, alias, version)
    return Decision(
        version, alias, metric, score, champion, baseline, reason, margin=settings.margin
    )


def is_worse(score: float, champion: Champion, margin: float) -> bool:
    """Return whether a version may be worse than the champion by more than the margin.

    That is a test of non-inferiority: the lower end of the difference's 95 % interval decides.
    Where either has no scores by artist, the difference of the two means does.
    """
    if champion.difference is None:
        least = score - champion.score
    else:
        least = champion.difference.low
    return not least >= -margin - TOLERANCE


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
