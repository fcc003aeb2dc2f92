"""What failed in a store and why: the errors tables of its stages, the failed rows of unfinished ones, trainings that diverged."""

from __future__ import annotations

import dataclasses
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv
from rich import box
from rich.table import Table

from musicrec import schema
from musicrec.extraction.rows import failures
from musicrec.inspection.status import StageFolder, stage_folders
from musicrec.storage.store import Store, resolve, write_atomically
from musicrec.telemetry.progress import console, event
from musicrec.telemetry.redact import redacted

ERRORS_FILE = "errors.parquet"
DIVERGED_FILE = "diverged.txt"
# An error of a store: the row of the errors table, and the folder of the stage that it is from.
FAILED = pa.schema([*schema.ERRORS, pa.field("folder", pa.string(), nullable=False)])


@dataclasses.dataclass(frozen=True)
class Group:
    """Errors of one stage and reason; ``examples`` are rows of ``FAILED``."""

    stage: str
    reason: str
    count: int
    examples: list[dict[str, Any]]


def failed_rows(store: Store) -> pa.Table:
    """Every error (``FAILED``) of the newest run of each stage, and of each training that diverged; without credentials.

    Raises
    ------
    ConfigError
        Nothing was run on this store.
    """
    rows: list[dict[str, Any]] = []
    told: set[str] = set()
    for folder in stage_folders(store):
        found = [] if folder.stage.name in told else list(_of_tracks(folder))
        if ERRORS_FILE in folder.files or folder.record is None:
            told.add(folder.stage.name)
        if DIVERGED_FILE in folder.files:
            reason = store.read(folder.stage.path(DIVERGED_FILE)).decode()
            found.append(
                {"track_id": "", "stage": folder.stage.name, "reason": "diverged", "detail": reason}
            )
        rows += [redacted(row | {"folder": folder.stage.folder}) for row in found]
    return pa.Table.from_pylist(rows, schema=FAILED)


def _of_tracks(folder: StageFolder) -> Iterator[dict[str, Any]]:
    """The errors table of a stage; of one that did not end (too many errors, say), the failed rows of its blocks, by track or picture."""
    store = folder.stage.store
    if folder.record is not None:
        if ERRORS_FILE in folder.files:
            yield from store.read_table(folder.stage.path(ERRORS_FILE), schema.ERRORS).to_pylist()
        return
    for name, blocks in folder.blocks().items():
        for row in failures(blocks.outcomes()).select(["item", "reason", "detail"]).to_pylist():
            yield {
                "track_id": row["item"],
                "stage": name,
                "reason": row["reason"],
                "detail": row["detail"],
            }


def grouped(rows: pa.Table, examples: int) -> list[Group]:
    """The errors by stage and reason, the most frequent first."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows.to_pylist():
        groups[row["stage"], row["reason"]].append(row)
    made = [
        Group(stage, reason, len(members), members[:examples])
        for (stage, reason), members in groups.items()
    ]
    return sorted(made, key=lambda group: (-group.count, group.stage, group.reason))


def show_errors(store: Store, examples: int, out: str | None) -> None:
    """Print what failed by stage and reason: a table at a terminal, a JSON line a group otherwise; ``out`` takes all of it as CSV."""
    rows = failed_rows(store)
    groups = grouped(rows, examples)
    if console.is_terminal:
        console.print(errors_table(groups) if groups else "no errors")
    else:
        for group in groups:
            print(json.dumps(dataclasses.asdict(group)), flush=True)
    if out is not None:
        stream = io.BytesIO()
        pyarrow.csv.write_csv(rows, stream)
        write_atomically(*resolve(out), stream.getvalue())
        event("errors", "written", rows=rows.num_rows, file=out)


def errors_table(groups: list[Group]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in ("stage", "reason", "count", "for example"):
        table.add_column(
            column,
            justify="right" if column == "count" else "left",
            no_wrap=column != "for example",
        )
    for group in groups:
        lines = [
            ": ".join(part for part in (row["track_id"], row["detail"]) if part)
            for row in group.examples
        ]
        table.add_row(
            group.stage, group.reason, str(group.count), "\n".join(lines), end_section=True
        )
    return table
