"""Load and run a recommender: inputs of a track in, its embedding and the nearest artists out.

Its folder holds ``recommender.json`` (the specs of its models), ``weights/NAME.safetensors``,
``pretrained/NAME.safetensors`` (networks trained elsewhere, if any) and ``artists.parquet`` (the
artists with their embeddings), and where other members rank next to the network, the files of
``musicrec.artists.ranking``. Missing inputs follow the rule of ``musicrec.specs.ensemble``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from musicrec.artists.neighbours import nearest_neighbours
from musicrec.artists.ranking import WEIGHTS_FILE, Ranked, Ranking
from musicrec.audio import CLIP_SECONDS, AudioError, decode, extract_features, spread_segments
from musicrec.config.inputs import FIELDS, INPUTS, NUMBERS, RECORDING
from musicrec.features.artwork import ArtworkError, load_artwork
from musicrec.features.columns import Statistics, halve
from musicrec.features.lyrics import pad
from musicrec.features.vectors import compute_vector
from musicrec.pretrained.embedder import Embedder
from musicrec.serving.query import Query
from musicrec.specs.ensemble import EnsembleSpec, StackInputs
from musicrec.specs.submodel import SubmodelSpec
from musicrec.storage.parquet import parquet_bytes, parse_table
from musicrec.storage.record import json_bytes, parse_json
from musicrec.storage.store import resolve
from musicrec.training.checkpoints import parse_weights
from musicrec.training.inputs import pictures

ENSEMBLE = "recommendation"
DESCRIPTION, TABLE = "recommender.json", "artists.parquet"
PRETRAINED_FOLDER = "pretrained"
# Rows per forward pass: activations of the widest models take 100 MB per clip.
ROWS_AT_ONCE = 16
# A shorter track has too little to recommend from; up to 30 s it is padded with silence.
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

    reason = "missing_input"

    @property
    def detail(self) -> str:
        """The message, under the name that the errors table uses."""
        return str(self)


# The failure of one query; its ``reason`` and ``detail`` are columns of the errors table.
FAILURES = (AudioError, ArtworkError, MissingInput)
Failure = AudioError | ArtworkError | MissingInput
# By name: a feature (F, T) as extracted, and for ``stft_halved`` the statistics of the full frames.
Features = dict[str, tuple[np.ndarray, Statistics | None]]


@dataclass(frozen=True)
class Recommendation:
    """The answer to one query.

    ``artists`` are rows of the recommender's table (``ARTISTS``), the best first, ``similarity``
    their cosines, and ``prior`` the share of popularity in each one's score (-1 to 1; 0 where
    popularity takes no part; see ``musicrec.artists.ranking.Ranked``).
    """

    embedding: np.ndarray
    artists: np.ndarray
    similarity: np.ndarray
    prior: np.ndarray


class Recommender:
    """The submodels, ensemble and artists of one folder, on the CPU unless moved."""

    def __init__(
        self,
        ensemble: EnsembleSpec,
        submodels: dict[str, SubmodelSpec],
        models: dict[str, nn.Module],
        artists: pa.Table,
        chroma: str,
        segments: int = 1,
        ranking: Ranking | None = None,
        embedders: dict[str, Embedder] | None = None,
    ) -> None:
        self.ranking = ranking
        self.ensemble, self.submodels, self.chroma, self.segments = (
            ensemble,
            submodels,
            chroma,
            segments,
        )
        self.models = {name: model.eval() for name, model in models.items()}
        # Vectors are kept once: those of 100,000 artists take 320 MB, sent to every batch worker.
        self.artists = artists.drop_columns(["vector"])
        self._candidates = torch.from_numpy(np.stack(artists.column("vector").to_numpy()))
        self.device = self._candidates.device
        self.features = sorted({name for spec in submodels.values() for name in spec.features})
        self._vectors = {
            spec.feature: spec.features for spec in submodels.values() if spec.computed_from
        }
        self._embedders = embedders or {}  # of the pretrained vectors, always on the CPU

    @classmethod
    def load(cls, folder: str | Path) -> Recommender:
        """Load the recommender in a local folder; no file of it is executed.

        Raises
        ------
        DamagedError
            A file is not the one that was written.
        """
        folder = Path(folder)
        content = (folder / DESCRIPTION).read_bytes()
        description = parse_json(content, str(folder / DESCRIPTION))
        ensemble = EnsembleSpec.from_json(description["ensemble"])
        submodels = {
            name: SubmodelSpec.from_json(values)
            for name, values in description["submodels"].items()
        }
        models: dict[str, nn.Module] = {}
        for name, spec in {**submodels, ENSEMBLE: ensemble}.items():
            models[name] = spec.build()
            weights = folder / "weights" / f"{name}.safetensors"
            models[name].load_state_dict(parse_weights(weights.read_bytes(), str(weights)))
        artists = parse_table((folder / TABLE).read_bytes(), str(folder / TABLE), ARTISTS)
        ranking = None  # of the cosine only, as in versions older than other members
        if (folder / WEIGHTS_FILE).exists():
            ranking = Ranking.from_files(lambda name: (folder / name).read_bytes())
        embedders = {
            path.stem: Embedder.from_weights(path.read_bytes())
            for path in sorted((folder / PRETRAINED_FOLDER).glob("*.safetensors"))
        }
        return cls(
            ensemble,
            submodels,
            models,
            artists,
            description["chroma"],
            description.get("segments", 1),
            ranking,
            embedders,
        )

    @property
    def table(self) -> np.ndarray:
        """The artists' embeddings (A, D)."""
        return self._candidates.cpu().numpy()

    def to(self, device: str | torch.device) -> Recommender:
        """Move the models and the artists' vectors to a device, and return the recommender."""
        self.device = torch.device(device)
        self._candidates = self._candidates.to(self.device)
        for model in self.models.values():
            model.to(self.device)
        return self

    def recommend(self, query: Query, k: int = 10, popularity: bool = True) -> Recommendation:
        """Return the ``k`` best artists for a track.

        ``popularity`` says whether artists' popularity takes part, if the model gave it a weight.

        Raises
        ------
        MissingInput
            The query has no input of the ensemble, or lacks one that the ensemble requires.
        AudioError, ArtworkError
            A file cannot be read.
        """
        return self.nearest(self.embed(query), k, popularity)

    def nearest(self, embedding: np.ndarray, k: int, popularity: bool = True) -> Recommendation:
        """Return the ``k`` best artists for an embedding (D,)."""
        ranked = self.nearest_many(embedding[None], k, popularity)
        return Recommendation(embedding, ranked.rows[0], ranked.similarity[0], ranked.prior[0])

    def nearest_many(self, embeddings: np.ndarray, k: int, popularity: bool = True) -> Ranked:
        """Return the ``k`` best artists for each embedding (N, D), or all if there are fewer.

        The cosine ranks them, together with the members of the model's ranking.
        """
        k = min(k, len(self._candidates))
        if self.ranking is not None:
            return self.ranking.rank(embeddings, self._candidates, k, popularity=popularity)
        rows, similarity = nearest_neighbours(embeddings, self._candidates, k)
        return Ranked(rows, similarity, np.zeros_like(similarity))

    def embed(self, query: Query) -> np.ndarray:
        """Return the embedding (D,) of a track; it raises the same errors as ``recommend``."""
        vectors, (failure,) = self.embed_many([query])
        if failure is not None:
            raise failure
        return vectors[0]

    @torch.no_grad()
    def embed_many(
        self,
        queries: Sequence[Query],
        features: Sequence[Features | None] | None = None,
        threads: int = 1,
    ) -> tuple[np.ndarray, list[Failure | None]]:
        """Return the embeddings (N, D) of tracks and the failure of each, or None.

        A track that failed has a row of zeros. A submodel's output for a longer recording is the
        mean over its windows (``segments``).

        Parameters
        ----------
        features
            The stored features of each query; where they are missing, the audio is read.
        threads
            How many threads read and prepare inputs at the same time.
        """
        with ThreadPoolExecutor(threads) as pool:
            prepared = list(pool.map(self._prepared, queries, features or [None] * len(queries)))
        failures: list[Failure | None] = [
            inputs if isinstance(inputs, FAILURES) else None for inputs in prepared
        ]
        vectors = {
            name: np.zeros((len(queries), self.ensemble.outputs), np.float32)
            for name in self.submodels
        }
        for name in self.submodels:
            available = [
                (row, inputs[name])
                for row, inputs in enumerate(prepared)
                if failures[row] is None and name in inputs
            ]
            for rows, batch in _batches(
                [(row, window) for row, windows in available for window in windows.split(1)]
            ):
                np.add.at(
                    vectors[name], rows, self.models[name](batch.to(self.device)).cpu().numpy()
                )
            for row, windows in available:
                vectors[name][row] /= len(windows)
        numbers = {
            name: np.array([_number(getattr(query, name)) for query in queries]) for name in NUMBERS
        }
        inputs = StackInputs.gather(self.ensemble, vectors, numbers)
        usable = inputs.usable(self.ensemble.needs_all)
        embeddings = np.zeros((len(queries), self.ensemble.outputs), np.float32)
        for row in range(len(queries)):
            if failures[row] is None and not usable[row]:
                lacking = [name for name, present in inputs.present.items() if not present[row]]
                failures[row] = self._missing(lacking, queries[row])
        rows = np.array([row for row, failure in enumerate(failures) if failure is None], np.int64)
        if len(rows):
            arguments = (
                {name: value.to(self.device) for name, value in part.items()}
                for part in inputs.tensors(rows)
            )
            embeddings[rows] = self.models[ENSEMBLE](*arguments).cpu().numpy()
        return embeddings, failures

    def _missing(self, branches: list[str], query: Query) -> MissingInput:
        rule = "needs all of its inputs" if self.ensemble.needs_all else "needs at least one input"
        unknown = {name: _texts_of(name, query) for name in branches if _texts_of(name, query)}
        lacking = [name for name in branches if name not in unknown]
        all_branches = ", ".join(self.ensemble.branches)
        faults = [f"the query lacks {', '.join(lacking)} (of {all_branches})"] * bool(lacking)
        faults += [
            f"none of the words of its {' and '.join(texts)} is in the model's vocabulary"
            for texts in unknown.values()
        ]
        return MissingInput(f"this model {rule}, and {' and '.join(faults)}")

    def _prepared(
        self, query: Query, features: Features | None
    ) -> dict[str, torch.Tensor] | Failure:
        try:
            return self._inputs(query, features)
        except FAILURES as error:
            return error

    def _inputs(self, query: Query, features: Features | None) -> dict[str, torch.Tensor]:
        """Return the input tensors of each submodel that the query has inputs for.

        A tensor has one row per window of the audio; those of other inputs have one row.
        """
        windows = [features] if features else []
        recording = getattr(query, RECORDING)
        if features is None and recording is not None and self.features:
            windows = self._features(recording)
        windows = [self._with_vectors(window) for window in windows]
        inputs: dict[str, torch.Tensor] = {}
        for name, spec in self.submodels.items():
            if spec.feature is not None:
                if windows:
                    inputs[name] = torch.from_numpy(
                        np.stack([spec.prepare(*window[spec.feature]) for window in windows])
                    )[:, None]
                continue
            value = getattr(query, spec.modality)
            if spec.kind == "file" and value is not None:
                inputs[name] = pictures(load_artwork(value, spec.pixels)[None])
            elif spec.kind == "text" and value:
                numbers = spec.vocabulary.encode(value)
                if len(numbers):
                    inputs[name] = pad([numbers])
        return inputs

    def _with_vectors(self, window: Features) -> Features:
        """Add the vectors that the submodels read to the features of a window."""
        return window | {
            name: (compute_vector(name, {each: window[each][0] for each in features}), None)
            for name, features in self._vectors.items()
        }

    def _features(self, audio: str | bytes) -> list[Features]:
        samples = decode(audio, minimum_seconds=MINIMUM_SECONDS, locate=resolve).samples
        spectral = [name for name in self.features if name not in self._embedders]
        extracted = tuple(
            dict.fromkeys("stft" if name == "stft_halved" else name for name in spectral)
        )
        segments = spread_segments(samples, self.segments)
        windows = [
            extract_features(window.samples, extracted, chroma=self.chroma) for window in segments
        ]
        features: list[Features] = [
            {
                name: halve(each["stft"]) if name == "stft_halved" else (each[name], None)
                for name in spectral
            }
            for each in windows
        ]
        for name, embedder in self._embedders.items():
            rate = embedder.sample_rate
            samples = decode(audio, rate, minimum_seconds=MINIMUM_SECONDS, locate=resolve).samples
            for window, segment in zip(features, segments, strict=True):
                start = int(segment.start_seconds * rate)
                clip = samples[start : start + int(CLIP_SECONDS * rate)]
                window[name] = (embedder(clip), None)
        return features

    def describe(self, answer: Recommendation) -> list[dict]:
        """Return the recommended artists with their facts, similarity and popularity's share.

        Table 7 of Whitell 2019 shows them: name, similarity, genres, origin, years.
        """
        rows = self.artists.take(pa.array(answer.artists)).to_pylist()
        return [
            row | {"similarity": float(value), "prior": float(share)}
            for row, value, share in zip(rows, answer.similarity, answer.prior, strict=True)
        ]


def save(
    folder: Path,
    ensemble: EnsembleSpec,
    submodels: Sequence[SubmodelSpec],
    weights: dict[str, bytes],
    artists: pa.Table,
    chroma: str,
    segments: int,
    pretrained: dict[str, bytes],
) -> None:
    """Write a recommender's folder.

    Parameters
    ----------
    weights
        Safetensors bytes by the model's name.
    pretrained
        The same of the pretrained networks whose vectors the submodels read.
    """
    (folder / "weights").mkdir(parents=True)
    description = {
        "ensemble": ensemble.as_json(),
        "submodels": {spec.name: spec.as_json() for spec in submodels},
    }
    description |= {"chroma": chroma, "segments": segments}
    (folder / DESCRIPTION).write_bytes(json_bytes(description))
    for name, content in weights.items():
        (folder / "weights" / f"{name}.safetensors").write_bytes(content)
    for name, content in pretrained.items():
        (folder / PRETRAINED_FOLDER).mkdir(exist_ok=True)
        (folder / PRETRAINED_FOLDER / f"{name}.safetensors").write_bytes(content)
    (folder / TABLE).write_bytes(parquet_bytes(artists.cast(ARTISTS)))


def _batches(inputs: list[tuple[int, torch.Tensor]]) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Yield batches of rows and their inputs, all of one shape.

    Texts of different lengths are not padded, since padding changes the output of some models.
    """
    shapes: dict[torch.Size, list[tuple[int, torch.Tensor]]] = {}
    for row, tensor in inputs:
        shapes.setdefault(tensor.shape, []).append((row, tensor))
    for members in shapes.values():
        for start in range(0, len(members), ROWS_AT_ONCE):
            rows, tensors = zip(*members[start : start + ROWS_AT_ONCE], strict=True)
            yield np.array(rows), torch.cat(tensors)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _texts_of(branch: str, query: Query) -> list[str]:
    """Return the text fields that a branch reads and the query has."""
    fields = INPUTS[branch].fields
    return [name for name in fields if FIELDS[name].kind == "text" and getattr(query, name)]
