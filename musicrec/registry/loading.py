"""Load the registered recommender."""

from __future__ import annotations

from musicrec.config.load import ConfigError
from musicrec.config.sections import RegistrySettings
from musicrec.registry import runs as tracking
from musicrec.registry.promotion import CHALLENGER, CHAMPION
from musicrec.registry.versions import check_version
from musicrec.serving.recommender import Recommender
from musicrec.storage.store import Store


def pinned(model: str, settings: RegistrySettings, store: Store) -> str:
    """Replace the alias in a model URI by the version that has it now.

    ``models:/musicrec@champion`` becomes ``models:/musicrec/3``, for instance; a URI without an
    alias is returned unchanged.

    Raises
    ------
    ConfigError
        The registry has no such model.
    """
    name, at, alias = model.removeprefix("models:/").partition("@")
    if not at or not model.startswith("models:/"):
        return model
    tracking.connect(settings, store)
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        version = mlflow.MlflowClient().get_model_version_by_alias(name, alias).version
    except MlflowException as error:
        raise _not_in_registry(model, error) from error
    return f"models:/{name}/{version}"


def load_recommender(model: str, settings: RegistrySettings, store: Store) -> Recommender:
    """Return the recommender of a model URI such as ``models:/musicrec@champion``.

    Raises
    ------
    ConfigError
        The registry has no such model.
    DamagedModel
        A file of the version is not the one that was registered.
    """
    tracking.connect(settings, store)
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        loaded = mlflow.pyfunc.load_model(model)
    except MlflowException as error:
        raise _not_in_registry(model, error) from error
    python_model = loaded.unwrap_python_model()
    check_version(model, getattr(python_model, "digest", None))
    return python_model.recommender


def _not_in_registry(model: str, error: Exception) -> ConfigError:
    import mlflow

    where = mlflow.get_tracking_uri()
    name, at, alias = model.removeprefix("models:/").partition("@")
    aliases = _aliases(name) if at else {}
    if alias == CHAMPION and CHALLENGER in aliases and CHAMPION not in aliases:
        return ConfigError(
            f"{model}: there is no champion yet; version {aliases[CHALLENGER]} is {CHALLENGER} and "
            f"was not good enough to serve by itself: to use it, give "
            f"--model models:/{name}@{CHALLENGER}"
        )
    return ConfigError(
        f"{model} is not in the registry at {where}: {error}. "
        "Run jobs/retrain.py with this store first"
    )


def _aliases(name: str) -> dict[str, str]:
    """Return the versions of a registered model by alias; none if there is no such model."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        return dict(mlflow.MlflowClient().get_registered_model(name).aliases)
    except MlflowException:
        return {}
