"""Find the registered version of a recommender by what it was made from, and check it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from musicrec.registry.digests import DIGESTS, DamagedModel, file_digests
from musicrec.storage.store import fingerprint

# Tags of a version: a hash of everything that decides its weights and how it is served, and the
# SHA-256 of its folder's ``sha256.json``, which has the digest of each file.
MADE_FROM_TAG = "musicrec.made_from"
DIGEST_TAG = "musicrec.sha256"


def version_tags(made_from: dict[str, Any], digest: str) -> dict[str, str]:
    """Return the tags of a version; ``made_from`` has the keys and settings that decide it."""
    return {MADE_FROM_TAG: fingerprint(made_from), DIGEST_TAG: digest}


def find_version(model: str, run_id: str, folder: Path, tags: dict[str, str]) -> int | None:
    """Return the newest version of a model that was made from the same and has the same files.

    A version registered before the tags existed is compared file by file, if it belongs to the
    run; if it is the same, it receives the tags.

    Parameters
    ----------
    folder
        The recommender's folder with its digests.
    tags
        See ``version_tags``.
    """
    import mlflow

    client = mlflow.MlflowClient()
    same = client.search_model_versions(
        f"name = '{model}' and tags.`{MADE_FROM_TAG}` = '{tags[MADE_FROM_TAG]}'"
    )
    numbers = [int(each.version) for each in same if each.tags.get(DIGEST_TAG) == tags[DIGEST_TAG]]
    if numbers:
        return max(numbers)
    for each in client.search_model_versions(f"name = '{model}' and run_id = '{run_id}'"):
        if MADE_FROM_TAG not in each.tags and _same_files(model, each.version, folder):
            # Its folder has no ``sha256.json``, so that there is no digest to tag.
            client.set_model_version_tag(model, each.version, MADE_FROM_TAG, tags[MADE_FROM_TAG])
            client.set_model_version_tag(model, each.version, DIGEST_TAG, tags[DIGEST_TAG])
            return int(each.version)
    return None


def check_version(model: str, digest: str | None) -> None:
    """Compare the digest that a loaded model has with the tag of its registered version.

    A model that is no registered version, and one without the tag or the digest, passes.

    Raises
    ------
    DamagedModel
        They differ.
    """
    name, alias, number = _parts(model)
    if digest is None or not name:
        return
    import mlflow

    client = mlflow.MlflowClient()
    version = (
        client.get_model_version_by_alias(name, alias)
        if alias
        else client.get_model_version(name, number)
    )
    registered = version.tags.get(DIGEST_TAG)
    if registered is not None and registered != digest:
        raise DamagedModel(
            f"version {version.version} of model '{name}' was changed after it was registered: "
            f"SHA-256 of its {DIGESTS} is {digest[:16]}..., registered {registered[:16]}.... "
            "Restore its files from a backup, or serve another version"
        )


def _parts(model: str) -> tuple[str, str, str]:
    """Return the name, alias and number of a model URI; empty texts for another kind of URI."""
    if not model.startswith("models:/"):
        return "", "", ""
    path = model.removeprefix("models:/")
    name, at, alias = path.partition("@")
    if at:
        return name, alias, ""
    name, _, number = path.partition("/")
    return (name, "", number) if number.isdigit() else ("", "", "")


def _same_files(model: str, version: str, folder: Path) -> bool:
    import mlflow

    downloaded = Path(mlflow.artifacts.download_artifacts(f"models:/{model}/{version}"))
    description = next(downloaded.rglob("recommender.json"), None)
    return description is not None and file_digests(description.parent) == file_digests(folder)
