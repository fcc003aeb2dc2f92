"""One Ray for all integration tests, one small catalog, and one whole retrain of it that the tests look at."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_catalog import UserCatalog, small_catalog

import musicrec
from musicrec.config import Config, RaySettings, from_yaml

REPOSITORY = Path(__file__).parents[2]
CPUS = 2

TINY = """
store: {store}
catalog: {catalog}
ray: {{num_cpus: 2}}
extract:
  features: [mel, mfcc]
  minimum_seconds: 2
  artwork_pixels: 32
  rows_per_block: 4
embed:
  dimensions: 8
  full_batch: true
  learning_rates: [0.1]
  artists_per_step: [1]
  patience: [20]
  maximum_passes: 60
models:
  mfcc.large_rnn:
    architecture: large_rnn
    feature: mfcc
    pool: [1, 8]
    sizes: {{hidden: [8, 8, 8]}}
    batch_size: 8
    learning_rates: [0.01]
    patience: [{epochs}]
    maximum_epochs: {epochs}
  lyrics:
    architecture: lyrics
    sizes: {{embedding_size: 8, hidden: [8, 8, 8]}}
    batch_size: 8
    learning_rates: [0.01]
    patience: [{epochs}]
    maximum_epochs: {epochs}
train: {{parallel_runs: 2, cache_gigabytes: 0.1}}
ensemble:
  branches: [mfcc, lyrics, location, year]
  sizes: {{branch_hidden: 16, branch_outputs: 8, location_hidden: 8, head: [16]}}
  modality_dropout: 0.3
  batch_size: 8
  learning_rates: [0.01]
  patience: [{epochs}]
  maximum_epochs: {epochs}
evaluate: {{neighbours: [5], examples: 2}}
"""


def tiny_yaml(store: str, catalog: str, epochs: int = 2) -> str:
    """A whole run that takes seconds beside the start of its trainings."""
    return TINY.format(store=store, catalog=catalog, epochs=epochs)


def tiny_config(store: str, catalog: str, epochs: int = 2) -> Config:
    return from_yaml(tiny_yaml(store, catalog, epochs), "tiny.yaml")


def job_environment(**more: str) -> dict[str, str]:
    """The environment of a job in a process of its own: it imports the musicrec that these tests import."""
    path = os.pathsep.join([str(Path(musicrec.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": path} | more


def run_job_process(job: str, *arguments: str, timeout: float, **environment: str) -> subprocess.CompletedProcess[str]:
    """A job from the command line, as a user starts it."""
    command = [sys.executable, str(REPOSITORY / "jobs" / f"{job}.py"), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, cwd=REPOSITORY, env=job_environment(**environment)
    )


@dataclass(frozen=True)
class Retrained:
    """A finished retrain: its configuration, and what the call returned."""

    config: Config
    catalog: UserCatalog
    done: Any
    registered: Any

    @property
    def store(self) -> str:
        return self.config.store


@pytest.fixture(scope="session")
def ray_session(s3_server: Any) -> Iterator[None]:
    """Ray on this machine, started once. Its workers know the S3 server, since they take their environment from here."""
    from musicrec.parallel import connect

    connect(RaySettings(num_cpus=CPUS))
    import ray

    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def catalog_of_users() -> UserCatalog:
    """The small catalog; take a copy before changing it."""
    return small_catalog()


@pytest.fixture(scope="session")
def retrained(ray_session: None, catalog_of_users: UserCatalog, tmp_path_factory: pytest.TempPathFactory) -> Retrained:
    """The whole way once, from the small catalog to a registered champion."""
    from musicrec.stages.retrain import retrain

    folder = tmp_path_factory.mktemp("retrained")
    config = tiny_config(str(folder / "store"), catalog_of_users.write(str(folder / "catalog")))
    done, registered = retrain(config)
    return Retrained(config, catalog_of_users, done, registered)


@pytest.fixture(params=["folder", "s3"])
def places(request: pytest.FixtureRequest, tmp_path: Path, ray_session: None) -> tuple[str, str]:
    """Roots for a store and a catalog, on a folder and on S3."""
    base = str(tmp_path) if request.param == "folder" else request.getfixturevalue("s3_server").fresh()
    return f"{base}/store", f"{base}/catalog"
