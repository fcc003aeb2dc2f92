"""The registered recommender, loaded to be used."""

from __future__ import annotations

from musicrec import tracking
from musicrec.config import ConfigError
from musicrec.recommender import Recommender
from musicrec.settings import RegistrySettings
from musicrec.store import Store


def load_recommender(model: str, settings: RegistrySettings, store: Store) -> Recommender:
    """The recommender behind a model URI such as ``models:/musicrec@champion``.

    Raises
    ------
    ConfigError
        The registry has no such model.
    """
    tracking.connect(settings, store)
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        loaded = mlflow.pyfunc.load_model(model)
    except MlflowException as error:
        where = mlflow.get_tracking_uri()
        raise ConfigError(f"{model} is not in the registry at {where}: {error}. Run jobs/retrain.py with this store first") from error
    return loaded.unwrap_python_model().recommender
