"""The recommender as one folder of files: what a user has of a track in, its embedding and the nearest artists out.

The folder holds ``recommender.json`` (what to build), ``weights/NAME.safetensors`` and ``artists.parquet`` (the catalog of artists with
their embeddings). Missing inputs follow the rule of ``musicrec.ensemble``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import safetensors.torch
import torch
from torch import nn

from musicrec.artists.neighbours import nearest_neighbours
from musicrec.artwork import load_artwork
from musicrec.audio import decode, extract_features
from musicrec.ensemble import EnsembleSpec, StackInputs
from musicrec.features import halve
from musicrec.lyrics import pad
from musicrec.settings import BRANCHES
from musicrec.submodels import SubmodelSpec
from musicrec.training.rows import pictures

ENSEMBLE = "recommendation"
# A track of less than this has nothing to recommend from; up to 30 s it is padded with silence.
MINIMUM_SECONDS = 1.0

ARTISTS = pa.schema(
    [
        ("artist_id", pa.string()),
        ("name", pa.string()),
        ("genres", pa.list_(pa.string())),
        ("country", pa.string()),
        ("origin", pa.string()),
        ("first_year", pa.int32()),
        ("last_year", pa.int32()),
        ("tracks", pa.int32()),
        ("vector", pa.list_(pa.float32())),
    ]
)


class MissingInput(ValueError):
    """A query lacks what the recommender needs."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """What a user has of one track: ``audio`` and ``artwork`` as path, URI or the file's bytes. None: not known."""

    audio: str | bytes | None = None
    lyrics: str | None = None
    artwork: str | bytes | None = None
    year: float | None = None
    latitude: float | None = None
    longitude: float | None = None


@dataclass(frozen=True)
class Recommendation:
    """One query's answer: ``artists`` are rows of the recommender's table (``ARTISTS``), the nearest first, ``similarity`` their cosine."""

    embedding: np.ndarray
    artists: np.ndarray
    similarity: np.ndarray


class Recommender:
    """Submodels, ensemble and artists of one folder, on the CPU unless moved."""

    def __init__(
        self, ensemble: EnsembleSpec, submodels: dict[str, SubmodelSpec], models: dict[str, nn.Module], artists: pa.Table, chroma: str
    ) -> None:
        self.ensemble, self.submodels, self.artists, self.chroma = ensemble, submodels, artists, chroma
        self.models = {name: model.eval() for name, model in models.items()}
        self.table = np.stack(artists.column("vector").to_numpy())
        self.features = sorted({spec.feature for spec in submodels.values() if spec.feature is not None})

    @classmethod
    def load(cls, folder: str | Path) -> Recommender:
        """The recommender in a local folder; nothing in it is executed."""
        folder = Path(folder)
        description = json.loads((folder / "recommender.json").read_text(encoding="utf-8"))
        ensemble = EnsembleSpec.from_json(description["ensemble"])
        submodels = {name: SubmodelSpec.from_json(values) for name, values in description["submodels"].items()}
        models: dict[str, nn.Module] = {}
        for name, spec in {**submodels, ENSEMBLE: ensemble}.items():
            models[name] = spec.build()
            models[name].load_state_dict(safetensors.torch.load_file(folder / "weights" / f"{name}.safetensors"))
        return cls(
            ensemble, submodels, models, pyarrow.parquet.read_table(folder / "artists.parquet", schema=ARTISTS), description["chroma"]
        )

    def recommend(self, query: Query, k: int = 10) -> Recommendation:
        """The ``k`` artists nearest to a track.

        Raises
        ------
        MissingInput
            The query has nothing that the ensemble reads, or lacks what it cannot do without.
        AudioError, ArtworkError
            A file cannot be read.
        """
        return self.nearest(self.embed(query), k)

    def nearest(self, embedding: np.ndarray, k: int) -> Recommendation:
        """The ``k`` artists nearest to an embedding (D,) by cosine."""
        rows, similarity = nearest_neighbours(embedding[None], self.table, min(k, len(self.table)))
        return Recommendation(embedding, rows[0], similarity[0])

    @torch.no_grad()
    def embed(self, query: Query) -> np.ndarray:
        """The embedding (D,) of a track; see ``recommend`` for what it raises."""
        vectors = {name: np.zeros((1, self.ensemble.outputs), np.float32) for name in self.submodels}
        for name, arguments in self._inputs(query).items():
            vectors[name] = self.models[name](arguments).numpy()
        numbers = {name: np.array([_number(getattr(query, name))]) for name in ("year", "latitude", "longitude")}
        inputs = StackInputs.gather(self.ensemble, vectors, numbers)
        if not inputs.usable(self.ensemble.needs_all)[0]:
            missing = [branch for branch, present in inputs.present.items() if not present[0]]
            rule = "needs all of its inputs" if self.ensemble.needs_all else "needs at least one input"
            raise MissingInput(f"this model {rule}, and the query lacks {', '.join(missing)} (of {', '.join(BRANCHES)})")
        return self.models[ENSEMBLE](*inputs.tensors(np.array([0])))[0].numpy()

    def _inputs(self, query: Query) -> dict[str, torch.Tensor]:
        """What each submodel reads of a query, for those that have something to read."""
        features = self._features(query.audio) if query.audio is not None and self.features else {}
        inputs: dict[str, torch.Tensor] = {}
        for name, spec in self.submodels.items():
            if spec.feature is not None and features:
                inputs[name] = torch.from_numpy(spec.prepare(*features[spec.feature]))[None, None]
            elif spec.modality == "artwork" and query.artwork is not None:
                inputs[name] = pictures(load_artwork(query.artwork, spec.pixels)[None])
            elif spec.modality == "lyrics" and query.lyrics:
                numbers = spec.vocabulary.encode(query.lyrics)
                if len(numbers):
                    inputs[name] = torch.from_numpy(pad([numbers]))
        return inputs

    def _features(self, audio: str | bytes) -> dict[str, tuple]:
        samples = decode(audio, minimum_seconds=MINIMUM_SECONDS).samples
        wanted = tuple(dict.fromkeys("stft" if name == "stft_halved" else name for name in self.features))
        found = extract_features(samples, wanted, chroma=self.chroma)
        return {name: halve(found["stft"]) if name == "stft_halved" else (found[name], None) for name in self.features}

    def describe(self, answer: Recommendation) -> list[dict]:
        """The recommended artists with what is known of them (thesis Table 7: name, similarity, genres, origin, years)."""
        rows = self.artists.drop_columns(["vector"]).take(pa.array(answer.artists)).to_pylist()
        return [row | {"similarity": float(value)} for row, value in zip(rows, answer.similarity, strict=True)]


def save(
    folder: Path, ensemble: EnsembleSpec, submodels: Sequence[SubmodelSpec], weights: dict[str, bytes], artists: pa.Table, chroma: str
) -> None:
    """Write a recommender's folder; ``weights`` are the safetensors bytes of each submodel and of the ensemble."""
    (folder / "weights").mkdir(parents=True)
    description = {"ensemble": ensemble.as_json(), "submodels": {spec.name: spec.as_json() for spec in submodels}, "chroma": chroma}
    (folder / "recommender.json").write_text(json.dumps(description, indent=1), encoding="utf-8")
    for name, content in weights.items():
        (folder / "weights" / f"{name}.safetensors").write_bytes(content)
    pyarrow.parquet.write_table(artists.cast(ARTISTS), folder / "artists.parquet", compression="zstd")


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
