"""One Ray for all integration tests, one small catalog, and one whole retrain of it that the tests
look at."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from small_catalog import UserCatalog, small_catalog
from small_run import Retrained, tiny_config

from musicrec.config.sections import RaySettings, RegistrySettings

CPUS = 2


@pytest.fixture(scope="session")
def ray_session(s3_server: Any) -> Iterator[None]:
    """Ray on this machine, started once. Its workers know the S3 server, since they take their
    environment from here."""
    from musicrec.runtime.cluster import connect

    connect(RaySettings(num_cpus=CPUS))
    import ray

    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def catalog_of_users() -> UserCatalog:
    """The small catalog; take a copy before changing it."""
    return small_catalog()


@pytest.fixture(scope="session")
def retrained_folder(
    request: pytest.FixtureRequest,
    catalog_of_users: UserCatalog,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """One retrain of the small catalog for all processes that run tests.

    The first process that needs it runs it. In the folder are ``catalog`` and ``store``, and in
    ``finished`` a copy of the store in which no test writes.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # of the session; each process has a folder of its own in it
    folder = folder / "retrained"
    with FileLock(f"{folder}.lock"):
        if not (folder / "finished").exists():
            request.getfixturevalue("ray_session")
            from musicrec.pipeline.retrain import retrain

            catalog = catalog_of_users.write(str(folder / "catalog"))
            retrain(tiny_config(str(folder / "store"), catalog))
            shutil.copytree(folder / "store", folder / "copied")
            (folder / "copied").rename(folder / "finished")
    return folder


@pytest.fixture(scope="session")
def retrained(
    ray_session: None, retrained_folder: Path, catalog_of_users: UserCatalog
) -> Retrained:
    """The whole way once, from the small catalog to a registered champion."""
    from musicrec.pipeline.retrain import retrain

    config = tiny_config(str(retrained_folder / "store"), str(retrained_folder / "catalog"))
    return Retrained(config, catalog_of_users, *retrain(config))


@pytest.fixture(scope="session")
def retrained_on_s3(
    ray_session: None,
    s3_server: Any,
    catalog_of_users: UserCatalog,
    tmp_path_factory: pytest.TempPathFactory,
) -> Retrained:
    """The same with catalog, store and model on S3."""
    from musicrec.pipeline.retrain import retrain

    root = s3_server.fresh()
    config = tiny_config(f"{root}/store", catalog_of_users.write(f"{root}/catalog"))
    registry = RegistrySettings(
        tracking_uri=f"sqlite:///{tmp_path_factory.mktemp('registry')}/mlflow.db",
        require_baseline=False,
    )
    config = dataclasses.replace(config, registry=registry)
    return Retrained(config, catalog_of_users, *retrain(config))


@pytest.fixture(params=["folder", "s3"])
def places(request: pytest.FixtureRequest, tmp_path: Path, ray_session: None) -> tuple[str, str]:
    """Roots for a store and a catalog, on a folder and on S3."""
    base = (
        str(tmp_path) if request.param == "folder" else request.getfixturevalue("s3_server").fresh()
    )
    return f"{base}/store", f"{base}/catalog"
