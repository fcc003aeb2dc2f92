"""The registered model's interface: a row a query in, an embedding and the nearest artists out.

Input columns, each optional, at least one of them given:

- ``audio`` the bytes of an audio file (base64 in JSON), or ``audio_uri`` its path or URI;
- ``lyrics`` text; ``artwork`` the bytes of a picture, or ``artwork_uri``; ``year``, ``latitude``, ``longitude``.

Parameter ``k``: how many artists. Output: ``embedding`` and, nearest first, ``artist_id``, ``artist``, ``similarity``. A query that cannot
be answered has empty lists and says why in ``error``.
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
    """``musicrec.serving.recommender.Recommender`` behind MLflow's interface."""

    def load_context(self, context: Any) -> None:
        self.recommender = Recommender.load(context.artifacts[ARTIFACT])

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        k = int((params or {}).get("k", DEFAULT_NEIGHBOURS))
        return pd.DataFrame([self._answer(row, k) for row in model_input.to_dict(orient="records")])

    def _answer(self, row: dict[str, Any], k: int) -> dict[str, Any]:
        try:
            found = self.recommender.recommend(query(row), k)
        except (AudioError, ArtworkError, MissingInput) as error:
            return {
                "embedding": [],
                "artist_id": [],
                "artist": [],
                "similarity": [],
                "error": redacted(str(error)),
            }
        artists = self.recommender.describe(found)
        return {
            "embedding": found.embedding.astype(float).tolist(),
            "artist_id": [artist["artist_id"] for artist in artists],
            "artist": [artist["name"] or artist["artist_id"] for artist in artists],
            "similarity": [artist["similarity"] for artist in artists],
            "error": "",
        }


def query(row: dict[str, Any]) -> Query:
    """A query from a row of the input; absent columns and missing values are unknown inputs."""
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
