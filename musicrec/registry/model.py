"""The file from which MLflow makes the registered model (models from code); importing it elsewhere has no use."""

from __future__ import annotations

import mlflow

from musicrec.registry.pyfunc import MusicRecommender

mlflow.models.set_model(MusicRecommender())
