"""The registered model's interface: one row per query in, an embedding and the nearest artists out.

Input columns, all optional, at least one of them given:

- ``audio``: the bytes of an audio file (base64 in JSON), or ``audio_uri``: its path or URI under
  one of the locations of MUSICREC_SERVED_ROOTS (none by default)
- ``artwork``: the bytes of an image, or ``artwork_uri``
- ``lyrics`` (text), ``year``, ``latitude``, ``longitude``

Parameters: ``k``, the number of artists, and ``popularity``, whether artists' popularity takes part
in the ranking (true). Output columns: ``embedding`` and, the best first, ``artist_id``, ``artist``,
``similarity`` and ``prior``, the share of popularity in the score. A query that cannot be answered
has empty lists and the reason in ``error``.

Registered models import this module by its path, which must not change.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel

from musicrec.audio import AudioError
from musicrec.features.artwork import ArtworkError
from musicrec.registry.digests import check_digests
from musicrec.serving.example import example_row
from musicrec.serving.recommender import MissingInput, Recommendation, Recommender
from musicrec.serving.request import (
    RequestError,
    neighbours,
    read_query,
    read_rows,
    seconds_per_row,
    switch,
)
from musicrec.telemetry.log import logger

ARTIFACT = "recommender"
DEFAULT_NEIGHBOURS = 10


class RowTimeout(Exception):
    """A row was not answered within its time limit."""


class MusicRecommender(PythonModel):
    """Adapt ``musicrec.serving.recommender.Recommender`` to MLflow's interface."""

    def load_context(self, context: Any) -> None:
        """Load the recommender from the model's artifacts, after a check of their digests.

        One query is answered without a time limit: on a machine without Numba's cache the kernels
        are compiled for it, which takes 20 s of CPU time.
        """
        self.digest = check_digests(Path(context.artifacts[ARTIFACT]))
        self.recommender = Recommender.load(context.artifacts[ARTIFACT])
        self.recommender.recommend(read_query(example_row()), 1)

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return one row of answers per row of queries, in order; see the module for the columns.

        Raises
        ------
        MlflowException
            A parameter is out of its range, or there are no rows or too many (400 when
            served).
        """
        try:
            k = neighbours((params or {}).get("k", DEFAULT_NEIGHBOURS))
            popularity = switch("popularity", (params or {}).get("popularity", True))
            rows = read_rows(model_input)
        except RequestError as error:
            raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from None
        seconds, answers = seconds_per_row(), []
        for row in rows:
            try:
                answers.append(self._answer(row, k, popularity, seconds))
            except RowTimeout:
                answers.append(_failure(f"timed_out: not answered within {seconds:g} s"))
                seconds /= 2
        return pd.DataFrame(answers)

    def _answer(
        self, row: dict[str, Any], k: int, popularity: bool, seconds: float
    ) -> dict[str, Any]:
        try:
            recommendation = _within(
                seconds, lambda: self.recommender.recommend(read_query(row), k, popularity)
            )
        except (RequestError, MissingInput) as error:
            return _failure(str(error))
        except (AudioError, ArtworkError) as error:
            kind = "audio" if isinstance(error, AudioError) else "artwork"
            return _failure(f"{error.reason}: the {kind} cannot be read")  # no byte of the file
        except RowTimeout:
            raise
        except OSError:
            logger().exception("a file of a request could not be read")
            return _failure("unreachable: the storage of a file cannot be reached")
        except Exception:  # noqa: BLE001 - one bad row must not cost the others their answers
            logger().exception("a row of a request could not be answered")
            return _failure("failed: the row cannot be answered")
        artists = self.recommender.describe(recommendation)
        return {
            "embedding": recommendation.embedding.astype(float).tolist(),
            "artist_id": [artist["artist_id"] for artist in artists],
            "artist": [artist["name"] or artist["artist_id"] for artist in artists],
            "similarity": [artist["similarity"] for artist in artists],
            "prior": [artist["prior"] for artist in artists],
            "error": "",
        }


def _failure(error: str) -> dict[str, Any]:
    lists = ("embedding", "artist_id", "artist", "similarity", "prior")
    return {name: [] for name in lists} | {"error": error}


def _within(seconds: float, answer: Any) -> Recommendation:
    """Return the answer, or raise RowTimeout: a read that hangs is left to its own thread."""
    outcome: list[Recommendation] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(answer())
        except BaseException as error:  # noqa: BLE001 - raised below, in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not outcome:
        raise RowTimeout
    return outcome[0]
