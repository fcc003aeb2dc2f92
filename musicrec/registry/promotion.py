"""Decide which registered version serves: the champion, unless a newer version scores as well."""

from __future__ import annotations

import math
from dataclasses import dataclass

from musicrec.serving.recommender import Recommender

CHAMPION, CHALLENGER = "champion", "challenger"
# Runs of one configuration differ in the last digits of float32 sums; neither is worse.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Decision:
    """The alias that a new version received, and the scores that decided it.

    ``champion_version`` and ``champion_score`` are None if there was no champion to compare with.
    """

    version: int
    alias: str
    metric: str
    score: float
    champion_version: int | None
    champion_score: float | None

    def sentence(self) -> str:
        """Describe the decision in one sentence."""
        if self.champion_score is None:
            return (
                f"version {self.version} is the first and becomes {CHAMPION} "
                f"({self.metric} {self.score:.4f})"
            )
        relation = "not worse than" if self.alias == CHAMPION else "worse than"
        return (
            f"version {self.version} becomes {self.alias}: its {self.metric} of {self.score:.4f} "
            f"is {relation} the {self.champion_score:.4f} of champion version "
            f"{self.champion_version} on the same test artists"
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


def decide(
    model: str,
    version: int,
    metric: str,
    score: float,
    champion: tuple[int, float] | None = None,
) -> Decision:
    """Choose the alias of a new version and set it in the registry.

    The version becomes champion if there is no other champion, if it scores as well within
    ``TOLERANCE``, or if the champion has no score (NaN).

    Parameters
    ----------
    model
        The registered model's name.
    metric, score
        The name and value of the metric that decides; larger is better.
    champion
        The present champion's version and its score on the same queries and candidates; None if
        there is none or it is this version.
    """
    import mlflow

    alias = CHAMPION
    champion_number, champion_score = champion or (None, None)
    if champion_score is not None and not (
        math.isnan(champion_score) or score >= champion_score - TOLERANCE
    ):
        alias = CHALLENGER
    mlflow.MlflowClient().set_registered_model_alias(model, alias, version)
    return Decision(version, alias, metric, score, champion_number, champion_score)


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
    loaded = mlflow.pyfunc.load_model(f"models:/{model}/{version}")
    return loaded.unwrap_python_model().recommender, source
