"""The registered model's interface: one row per query in, an embedding and the nearest artists out.

Input columns, all optional, at least one of them given:

- ``audio``: the bytes of an audio file (base64 in JSON), or ``audio_uri``: its path or URI
- ``artwork``: the bytes of an image, or ``artwork_uri``
- ``lyrics`` (text), ``year``, ``latitude``, ``longitude``

Parameter ``k``: the number of artists. Output columns: ``embedding`` and, nearest first,
``artist_id``, ``artist`` and ``similarity``. A query that cannot be answered has empty lists and
the reason in ``error``.

Registered models import this module by its path, which must not change.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from mlflow.pyfunc import PythonModel

from musicrec.audio import AudioError
from musicrec.features.artwork import ArtworkError
from musicrec.serving.recommender import MissingInput, Query, Recommender
from musicrec.telemetry.redact import redacted

ARTIFACT = "recommender"
DEFAULT_NEIGHBOURS = 10


class MusicRecommender(PythonModel):
    """Adapt ``musicrec.serving.recommender.Recommender`` to MLflow's interface."""

    def load_context(self, context: Any) -> None:
        """Load the recommender from the model's artifacts."""
        self.recommender = Recommender.load(context.artifacts[ARTIFACT])

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return one row of answers per row of queries; see the module for the columns."""
        k = int((params or {}).get("k", DEFAULT_NEIGHBOURS))
        return pd.DataFrame([self._answer(row, k) for row in model_input.to_dict(orient="records")])

    def _answer(self, row: dict[str, Any], k: int) -> dict[str, Any]:
        try:
            recommendation = self.recommender.recommend(query(row), k)
        except (AudioError, ArtworkError, MissingInput) as error:
            return {
                "embedding": [],
                "artist_id": [],
                "artist": [],
                "similarity": [],
                "error": redacted(str(error)),
            }
        artists = self.recommender.describe(recommendation)
        return {
            "embedding": recommendation.embedding.astype(float).tolist(),
            "artist_id": [artist["artist_id"] for artist in artists],
            "artist": [artist["name"] or artist["artist_id"] for artist in artists],
            "similarity": [artist["similarity"] for artist in artists],
            "error": "",
        }


def query(row: dict[str, Any]) -> Query:
    """Return a row of the input as a query; absent columns and nulls are missing inputs."""
    values = {name: value for name, value in row.items() if not _missing(value)}
    return Query(
        audio=values.get("audio", values.get("audio_uri")),
        artwork=values.get("artwork", values.get("artwork_uri")),
        **{
            name: values[name]
            for name in ("lyrics", "year", "latitude", "longitude")
            if name in values
        },
    )


def _missing(value: Any) -> bool:
    return (
        value is None
        or value is pd.NA
        or value in (b"", "")
        or (isinstance(value, float) and math.isnan(value))
    )
