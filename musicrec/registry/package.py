"""Log a recommender's folder to MLflow as one registered version of the model."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import pandas as pd

import musicrec
from musicrec.registry.pyfunc import ARTIFACT, DEFAULT_NEIGHBOURS
from musicrec.serving.example import example_row

# The packages that the model needs to answer; Ray, the pipeline and the demo need more.
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
# The parameters of a request, with their defaults.
PARAMETERS = {"k": DEFAULT_NEIGHBOURS, "popularity": True}


def log_version(folder: Path, model: str, outputs: int, tags: dict[str, str]) -> int:
    """Log a recommender to the active MLflow run, register it, and return the version.

    The version and its tags are created by one request: a job that stops before it leaves no
    version without tags.

    Parameters
    ----------
    folder
        A recommender's folder (see ``musicrec.serving.recommender.save``).
    model
        The name to register it under.
    outputs
        The length of its embeddings.
    tags
        Tags of the version.
    """
    import mlflow

    package = Path(musicrec.__file__).parent
    example, answer = pd.DataFrame([example_row()]), output_example(outputs)
    signature = mlflow.models.infer_signature(example, answer, params=PARAMETERS)
    logged = mlflow.pyfunc.log_model(
        name=model,
        python_model=str(package / "registry" / "model.py"),
        artifacts={ARTIFACT: str(folder)},
        code_paths=[str(package)],
        signature=_without_inputs(signature),
        input_example=example,
        pip_requirements=[
            f"{name}=={importlib.metadata.version(name)}"
            for name in (*REQUIREMENTS, *REQUIREMENTS_OF_CONFIG)
        ],
    )
    return int(mlflow.register_model(logged.model_uri, model, tags=tags).version)


def output_example(outputs: int) -> pd.DataFrame:
    """Return an answer with the model's output columns; ``outputs`` is the embedding's length."""
    values = {
        "embedding": [0.0] * outputs,
        "artist_id": ["a"],
        "artist": ["A"],
        "similarity": [1.0],
        "prior": [0.0],
        "error": "",
    }
    return pd.DataFrame([values])


def _without_inputs(signature: Any) -> Any:
    """Return the signature without its inputs.

    By a schema of inputs MLflow refuses a whole request for one value of another type, and leaves
    out fields, and rows, that it does not know. ``musicrec.serving.request`` checks each row.
    """
    from mlflow.models import ModelSignature

    return ModelSignature(outputs=signature.outputs, params=signature.params)
