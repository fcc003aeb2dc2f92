"""A trained run as one registered version of the MLflow model."""

from __future__ import annotations

import importlib.metadata
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

import musicrec
from musicrec import schema
from musicrec.pipeline.base import Outcome, Run
from musicrec.pipeline.embed import TABLE
from musicrec.pipeline.retrain import Stacked
from musicrec.registry.pyfunc import ARTIFACT, DEFAULT_NEIGHBOURS
from musicrec.serving.recommender import ARTISTS, ENSEMBLE, save
from musicrec.specs.ensemble import EnsembleSpec
from musicrec.specs.submodel import SubmodelSpec
from musicrec.training.checkpoints import WEIGHTS

# What the model needs to answer; Ray, the stages and the demo are not among it.
REQUIREMENTS = (
    "mlflow",
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "numba",
    "soundfile",
    "soxr",
    "pillow",
    "pyarrow",
    "safetensors",
)
REQUIREMENTS_OF_CONFIG = ("pydantic", "tyro", "pyyaml", "librosa")


def artist_table(run: Run, embedded: Outcome) -> pa.Table:
    """The artists of the embedding table with what the catalog knows of them."""
    embeddings = run.store.read_table(embedded.stage.path(TABLE), schema.EMBEDDINGS)
    facts = artist_facts(run, embeddings.column("artist_id").to_pylist())
    columns = {
        name: [artist[name] for artist in facts] for name in ARTISTS.names if name != "vector"
    }
    return pa.table(columns | {"vector": embeddings.column("vector")}, schema=ARTISTS)


def artist_facts(run: Run, artist_ids: list[str]) -> list[dict[str, Any]]:
    """What the catalog knows of artists, in their order: the columns of ``ARTISTS`` but the vector, and ``birth_year``."""
    known = {row["artist_id"]: row for row in run.catalog.artists.to_pylist()}
    years: dict[str, list[int]] = {}
    tracks: dict[str, int] = {}
    for row in run.catalog.tracks.select(["artist_id", "year"]).to_pylist():
        tracks[row["artist_id"]] = tracks.get(row["artist_id"], 0) + 1
        if row["year"] is not None:
            years.setdefault(row["artist_id"], []).append(row["year"])
    rows = []
    for artist in artist_ids:
        facts = known.get(artist, {})
        rows.append(
            {
                name: facts.get(name)
                for name in ("name", "genres", "country", "origin", "birth_year")
            }
            | {"artist_id": artist, "tracks": tracks.get(artist, 0)}
            | {
                "first_year": min(years.get(artist, [None])),
                "last_year": max(years.get(artist, [None])),
            }
        )
    return rows


def write_recommender(
    folder: Path, run: Run, embedded: Outcome, submodels: dict[str, Outcome], ensemble: Outcome
) -> EnsembleSpec:
    """Write a run's ensemble, the submodels that it reads, and its artists as a recommender's folder; returns the ensemble's spec."""
    read = run.store.read
    spec = EnsembleSpec.from_json(run.store.read_json(ensemble.stage.path("spec.json")))
    used = {name: submodels[name] for name in spec.submodels()}
    specs = [
        SubmodelSpec.from_json(run.store.read_json(outcome.stage.path("spec.json")))
        for outcome in used.values()
    ]
    weights = {
        name: read(outcome.stage.path(WEIGHTS))
        for name, outcome in (*used.items(), (ENSEMBLE, ensemble))
    }
    save(
        folder,
        spec,
        specs,
        weights,
        artist_table(run, embedded),
        run.config.extract.chroma,
        run.config.registry.segments,
    )
    return spec


def log_version(run: Run, embedded: Outcome, stacked: Stacked) -> Any:
    """Log the model to the active MLflow run and register it; returns MLflow's description of it."""
    import mlflow

    package = Path(musicrec.__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        ensemble = write_recommender(
            Path(folder) / ARTIFACT, run, embedded, stacked.models, stacked.ensemble
        )
        example, answer = input_example(), output_example(ensemble.outputs)
        signature = mlflow.models.infer_signature(example, answer, params={"k": DEFAULT_NEIGHBOURS})
        return mlflow.pyfunc.log_model(
            name=run.config.registry.model,
            python_model=str(package / "registry" / "model.py"),
            artifacts={ARTIFACT: str(Path(folder) / ARTIFACT)},
            code_paths=[str(package)],
            signature=_optional(signature),
            input_example=example,
            registered_model_name=run.config.registry.model,
            pip_requirements=[
                f"{name}=={importlib.metadata.version(name)}"
                for name in (*REQUIREMENTS, *REQUIREMENTS_OF_CONFIG)
            ],
        )


def input_example() -> pd.DataFrame:
    """A query with all inputs; its audio is two seconds of a sine tone, its picture one colour."""
    import io

    import soundfile
    from PIL import Image

    sound, picture = io.BytesIO(), io.BytesIO()
    soundfile.write(
        sound, 0.1 * np.sin(2 * np.pi * 440 * np.arange(2 * 22050) / 22050), 22050, format="FLAC"
    )
    Image.new("RGB", (64, 64), (120, 40, 160)).save(picture, format="PNG")
    values = {
        "audio": sound.getvalue(),
        "audio_uri": "",
        "lyrics": "ave verum corpus",
        "artwork": picture.getvalue(),
        "artwork_uri": "",
    }
    return pd.DataFrame([values | {"year": 1791.0, "latitude": 47.8, "longitude": 13.04}])


def output_example(outputs: int) -> pd.DataFrame:
    """The form of an answer."""
    values = {
        "embedding": [0.0] * outputs,
        "artist_id": ["a"],
        "artist": ["A"],
        "similarity": [1.0],
        "error": "",
    }
    return pd.DataFrame([values])


def _optional(signature: Any) -> Any:
    """The signature with every input optional: a query has what it has."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    inputs = Schema(
        [ColSpec(column.type, column.name, required=False) for column in signature.inputs.inputs]
    )
    return ModelSignature(inputs, signature.outputs, signature.params)
