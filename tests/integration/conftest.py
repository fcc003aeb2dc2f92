"""One Ray for all integration tests, one small catalog, and one whole retrain of it that the tests
look at."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
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
def retrained(
    ray_session: None, catalog_of_users: UserCatalog, tmp_path_factory: pytest.TempPathFactory
) -> Retrained:
    """The whole way once, from the small catalog to a registered champion."""
    from musicrec.pipeline.retrain import retrain

    folder = tmp_path_factory.mktemp("retrained")
    catalog = catalog_of_users.write(str(folder / "catalog"))
    config = tiny_config(str(folder / "store"), catalog)
    done, registered = retrain(config)
    return Retrained(config, catalog_of_users, done, registered)


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
