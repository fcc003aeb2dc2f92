"""Log a recommender's folder to MLflow as one registered version of the model."""

from __future__ import annotations

import importlib.metadata
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import musicrec
from musicrec.config.inputs import FIELDS, RECORDING, fields_of_kind
from musicrec.registry.pyfunc import ARTIFACT, DEFAULT_NEIGHBOURS

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
    example, answer = input_example(), output_example(outputs)
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


def input_example() -> pd.DataFrame:
    """Return a query with every input: two seconds of a sine tone and a picture of one color."""
    import soundfile
    from PIL import Image

    sound, picture = io.BytesIO(), io.BytesIO()
    soundfile.write(
        sound, 0.1 * np.sin(2 * np.pi * 440 * np.arange(2 * 22050) / 22050), 22050, format="FLAC"
    )
    Image.new("RGB", (64, 64), (120, 40, 160)).save(picture, format="PNG")
    picture_or_sound = {RECORDING: sound.getvalue()}
    values: dict[str, Any] = {}
    for name in fields_of_kind("file"):
        values |= {name: picture_or_sound.get(name, picture.getvalue()), f"{name}_uri": ""}
    values |= {name: field.example for name, field in FIELDS.items() if name not in values}
    return pd.DataFrame([values])


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
