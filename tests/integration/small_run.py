"""A configuration whose whole run takes seconds, and jobs in processes of their own."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from machines import Processes
from small_catalog import UserCatalog

import musicrec
from musicrec.config.jobs import Config
from musicrec.config.load import from_yaml

REPOSITORY = Path(__file__).parents[2]

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
  objective: thesis
  select_by: loss
  decay: none
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
    sizes: {{embedding_size: 8, hidden: [8, 8, 8], skip_padding: true}}
    batch_size: 8
    learning_rates: [0.01]
    patience: [{epochs}]
    maximum_epochs: {epochs}
train: {{launch: {launch}, parallel_runs: 2, cache_gigabytes: 0.1}}
ensemble:
  branches: [mfcc, lyrics, location, year]
  sizes: {{branch_hidden: 16, branch_outputs: 8, location_hidden: 8, head: [16]}}
  modality_dropout: 0.3
  batch_size: 8
  learning_rates: [0.01]
  patience: [{epochs}]
  maximum_epochs: {epochs}
evaluate: {{neighbours: [5], examples: 2}}
report: {{pictures: false}}
registry: {{require_baseline: false}}
"""


def tiny_yaml(store: str, catalog: str, epochs: int = 2, launch: str = "task") -> str:
    """A whole run that takes seconds; with ``launch`` "group" Ray Train starts each of its
    trainings, which takes some more."""
    return TINY.format(store=store, catalog=catalog, epochs=epochs, launch=launch)


def tiny_config(store: str, catalog: str, epochs: int = 2, launch: str = "task") -> Config:
    return from_yaml(tiny_yaml(store, catalog, epochs, launch), "tiny.yaml")


def job_environment(**more: str) -> dict[str, str]:
    """The environment of a job in a process of its own: it imports the musicrec that these tests
    import."""
    path = os.pathsep.join(
        [str(Path(musicrec.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    return os.environ | {"PYTHONPATH": path} | more


def start_job(log: Path, job: str, *arguments: str, **environment: str) -> Processes:
    """Start a job with a Ray of its own, that can be killed at any moment."""
    command = [sys.executable, f"jobs/{job}.py", *arguments]
    return Processes(command, log, job_environment(**environment))


def run_job_process(
    job: str, *arguments: str, timeout: float, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A job from the command line, as a user starts it."""
    command = [sys.executable, str(REPOSITORY / "jobs" / f"{job}.py"), *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=REPOSITORY,
        env=job_environment(**environment),
    )


def run_job_here(monkeypatch: pytest.MonkeyPatch, job: str, *arguments: str) -> int:
    """A job in this process, with this session's Ray; its exit code."""
    monkeypatch.setattr(sys, "argv", [f"{job}.py", *arguments])
    try:
        runpy.run_path(str(REPOSITORY / "jobs" / f"{job}.py"), run_name="__main__")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


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
