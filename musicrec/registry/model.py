"""Create the registered model for MLflow (models from code); import it nowhere else."""

from __future__ import annotations

import mlflow

from musicrec.registry.pyfunc import MusicRecommender

mlflow.models.set_model(MusicRecommender())
