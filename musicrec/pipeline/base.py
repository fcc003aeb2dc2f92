"""Define what all stages share: their run, and a record of each finished stage."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from musicrec.catalog.tables import Catalog
from musicrec.config.jobs import Config
from musicrec.config.load import resolved
from musicrec.storage.lock import acquire
from musicrec.storage.store import Stage, Store
from musicrec.telemetry.progress import event

VERSIONS = ("musicrec", "ray", "torch", "librosa", "pyarrow", "mlflow", "numpy")
# Part of every key; increase it when the same configuration and inputs give another output.
REVISION = 1


@dataclass(frozen=True)
class Run:
    """A configuration and its catalog.

    Attributes
    ----------
    left_out
        Splits whose tracks were taken out of the catalog; part of the keys of trained models.
    on_epoch
        Called with the record of each epoch of the run's training runs.
    seconds
        The time that each step took in this process, by the step's name.
    """

    config: Config
    store: Store
    catalog: Catalog
    catalog_key: str
    left_out: tuple[str, ...] = ()
    on_epoch: Callable[[dict[str, float]], None] | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Record the duration of a ``with`` block as a step's."""
        started = time.perf_counter()
        yield
        self.seconds[step] = round(time.perf_counter() - started, 2)


@dataclass(frozen=True)
class Outcome:
    """A finished stage: its folder, its record, and whether this call did the work."""

    stage: Stage
    record: dict[str, Any]
    worked: bool


def run_stage(
    run: Run,
    stage: Stage,
    work: Callable[[Stage], dict[str, Any]],
    label: str | None = None,
    should_rerun: Callable[[dict[str, Any]], bool] = lambda record: False,
) -> Outcome:
    """Do a stage's work unless it is complete.

    The record holds the values that ``work`` returned, package versions and the seconds it took;
    the folder also gets ``config.json``. If another run is working on the same stage, this one
    waits and then finds it complete, or refuses (``lock.wait``).

    Parameters
    ----------
    should_rerun
        Whether the record of a complete stage requires its work to be done again.

    Raises
    ------
    StageLocked
        Another run is working on this stage, and ``lock.wait`` is off.
    LockLost
        Another run took over the lock, having seen no sign of life; nothing was committed.
    """
    label = label or stage.name
    before = stage.success()
    if before is not None and not should_rerun(before):
        return already_complete(stage, label)
    with acquire(run.store, stage.folder, label, wait=run.config.lock.wait) as lock:
        if (now := stage.success()) is not None and now != before:
            return already_complete(stage, label)  # by the run that held the lock
        started = time.perf_counter()
        run.store.write_json(stage.path("config.json"), resolved(run.config))
        record = work(stage)
        record |= {
            "seconds": round(time.perf_counter() - started, 2),
            "versions": versions(),
            "finished": time.time(),
        }
        lock.check()
        stage.finish(record)
    event(
        label,
        "done",
        **{k: v for k, v in record.items() if isinstance(v, int | float | str) and k != "finished"},
    )
    return Outcome(stage, record, worked=True)


def already_complete(stage: Stage, label: str) -> Outcome:
    """Return the outcome of a stage that needs no work."""
    event(label, "already complete, nothing to do", key=stage.key)
    return Outcome(stage, stage.success(), worked=False)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect results."""
    installed = {"python": platform.python_version()}
    for package in VERSIONS:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            installed[package] = "not installed"  # musicrec itself, run from its source folder
    return installed
