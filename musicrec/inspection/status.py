"""State of every stage of a store, read from its records, locks, blocks and checkpoints."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table

from musicrec.config.errors import ConfigError
from musicrec.extraction.manifest import Blocks
from musicrec.storage.lock import Owner, owner_of
from musicrec.storage.record import DamagedError
from musicrec.storage.store import BLOCKS, SUCCESS, Stage, Store
from musicrec.telemetry.log import console
from musicrec.telemetry.progress import event
from musicrec.telemetry.tables import terminal_table

# A folder of a store is a stage's if it has one of these: the first and last files a stage writes.
MARKS = {SUCCESS, BLOCKS, "config.json", "spec.json"}
CHECKPOINT = "last.pt"
# Listing is limited by the storage, not by the CPU.
READERS = 16
COMPLETE, RUNNING, INTERRUPTED = "complete", "running", "interrupted"


@dataclass(frozen=True)
class StageFolder:
    """A stage's folder when it was read: files, record (if complete) and last owner of the lock."""

    stage: Stage
    files: frozenset[str]
    record: dict[str, Any] | None
    owner: Owner | None

    @property
    def state(self) -> str:
        """Return complete, running or interrupted."""
        if self.owner is not None and self.owner.is_at_work():
            return RUNNING
        return INTERRUPTED if self.record is None else COMPLETE

    @property
    def when(self) -> float:
        """Return the Unix time of its end, or of its owner's last sign of life; 0 if unknown."""
        if self.state == COMPLETE:
            return self.record.get("finished", 0.0)
        return self.owner.seen if self.owner is not None else 0.0

    def blocks(self) -> dict[str, Blocks]:
        """Return the blocks that the stage works on, by content."""
        if BLOCKS not in self.files:
            return {}
        try:
            folders = self.stage.store.read_json(self.stage.path(BLOCKS))
        except DamagedError as error:
            event(self.stage.name, "the progress of the blocks is unknown", error=str(error))
            return {}
        return {name: Blocks(self.stage.store, folder) for name, folder in folders.items()}


@dataclass(frozen=True)
class Status:
    """One line of the overview; None where a stage has no such value.

    Attributes
    ----------
    where
        State of a running stage: its owner, and the rows done out of those planned.
    """

    stage: str
    key: str
    state: str
    when: float
    model: str | None = None
    rows_in: int | None = None
    rows_out: int | None = None
    rows_in_errors: int | None = None
    seconds: float | None = None
    epoch: int | None = None
    metric: str | None = None
    validation: float | None = None
    where: str | None = None


def stage_folders(store: Store) -> list[StageFolder]:
    """Return every stage's folder in a store, the newest first.

    Raises
    ------
    ConfigError
        There is none: the store's name is wrong, or nothing was run on it.
    """
    names = [(name, key) for name in store.folders("") for key in store.folders(name)]
    with ThreadPoolExecutor(READERS) as pool:
        folders = [
            folder
            for folder in pool.map(lambda place: _read(store.stage(*place)), names)
            if folder is not None
        ]
    if not folders:
        raise ConfigError(f"--store {store.root}: no stage was ever started there")
    return sorted(folders, key=lambda folder: folder.when, reverse=True)


def _read(stage: Stage) -> StageFolder | None:
    files = frozenset(stage.store.names(stage.folder))
    owner = owner_of(stage.store, stage.folder)
    if owner is None and not files & MARKS:
        return None
    return StageFolder(stage, files, stage.success() if SUCCESS in files else None, owner)


def status_of(folder: StageFolder) -> Status:
    """Return the overview line of one stage."""
    stage, state = folder.stage, folder.state
    status = Status(stage.name, stage.key, state, folder.when)
    if state == COMPLETE:
        names = {field.name for field in dataclasses.fields(Status)} - {
            "stage",
            "key",
            "state",
            "when",
            "where",
            "epoch",
        }
        values = {name: folder.record[name] for name in names if name in folder.record}
        values["seconds"] = folder.record.get("training_seconds", folder.record.get("seconds"))
        return dataclasses.replace(status, **values, epoch=folder.record.get("epochs"))
    remarks = [str(folder.owner)] if state == RUNNING else []
    for name, blocks in folder.blocks().items():
        done, planned = rows_done(blocks)
        if planned:
            remarks.append(f"{name}: {done} of {planned} rows")
    status = dataclasses.replace(status, where="; ".join(remarks) or None)
    return _trained(folder, status) if CHECKPOINT in folder.files else status


def rows_done(blocks: Blocks) -> tuple[int, int]:
    """Return the number of rows in committed blocks, and of rows planned."""
    planned = blocks.manifest(["block"]).column("block")
    done = pc.sum(pc.is_in(planned, value_set=pa.array(sorted(blocks.done()), pa.string()))).as_py()
    return done or 0, len(planned)


def _trained(folder: StageFolder, status: Status) -> Status:
    """Add the epochs in a training's checkpoint, unless it is being replaced at the moment."""
    from musicrec.training.checkpoints import StoreCheckpoints  # torch takes seconds to load

    saved = StoreCheckpoints(folder.stage.store, folder.stage.folder).load_last()
    if saved is None:
        return status
    progress = saved["progress"]
    history = progress["history"]
    return dataclasses.replace(
        status, epoch=progress["epoch"], validation=history[-1]["validation"] if history else None
    )


def show_status(store: Store) -> None:
    """Print the state of every stage, the newest first.

    A terminal gets a table, anything else one JSON line per stage.
    """
    statuses = [status_of(folder) for folder in stage_folders(store)]
    if console.is_terminal:
        console.print(status_table(statuses))
    else:
        for status in statuses:
            print(
                json.dumps(
                    {
                        name: value
                        for name, value in dataclasses.asdict(status).items()
                        if value is not None
                    }
                ),
                flush=True,
            )


def status_table(statuses: list[Status]) -> Table:
    """Return the overview as a table for a terminal."""
    columns = (
        "stage",
        "key",
        "state",
        "rows in",
        "out",
        "errors",
        "time",
        "when (UTC)",
        "epoch",
        "valid.",
        "details",
    )
    numeric = {"rows in", "out", "errors", "time", "epoch", "valid."}
    table = terminal_table(columns, right=numeric, no_wrap=columns[:-1])
    colours = {COMPLETE: "green", RUNNING: "bold cyan", INTERRUPTED: "yellow"}
    for status in statuses:
        table.add_row(
            *_cells(status), style=None if status.state == COMPLETE else colours[status.state]
        )
    return table


def _cells(status: Status) -> Iterator[str]:
    yield from (status.stage, status.key[:8], status.state)
    yield from (
        "" if count is None else str(count)
        for count in (status.rows_in, status.rows_out, status.rows_in_errors)
    )
    yield "" if status.seconds is None else f"{status.seconds:.0f} s"
    yield time.strftime("%m-%d %H:%M:%S", time.gmtime(status.when)) if status.when else ""
    yield "" if status.epoch is None else str(status.epoch)
    yield "" if status.validation is None else f"{status.validation:.3f}"
    yield "; ".join(part for part in (status.model, status.where) if part)
