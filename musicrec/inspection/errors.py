"""Failures in a store: errors tables, failed rows of unfinished stages, diverged training runs."""

from __future__ import annotations

import dataclasses
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from rich.table import Table

from musicrec import schema
from musicrec.extraction.rows import failures
from musicrec.inspection.status import StageFolder, stage_folders
from musicrec.storage.store import Store, resolve, write_atomically
from musicrec.telemetry.log import console
from musicrec.telemetry.progress import event
from musicrec.telemetry.redact import redacted
from musicrec.telemetry.tables import terminal_table

ERRORS_FILE = "errors.parquet"
DIVERGED_FILE = "diverged.txt"
# An error of a store: a row of the errors table, and the folder of its stage.
FAILED = pa.schema([*schema.ERRORS, pa.field("folder", pa.string(), nullable=False)])


@dataclasses.dataclass(frozen=True)
class Group:
    """Errors of one stage and reason; ``examples`` are rows of ``FAILED``."""

    stage: str
    reason: str
    count: int
    examples: list[dict[str, Any]]


def failed_rows(store: Store) -> pa.Table:
    """Return every error (``FAILED``) of the newest run of each stage, without credentials.

    Training runs that diverged are included.

    Raises
    ------
    ConfigError
        Nothing was run on this store.
    """
    rows: list[dict[str, Any]] = []
    reported: set[str] = set()
    for folder in stage_folders(store):
        errors = [] if folder.stage.name in reported else list(_track_errors(folder))
        if ERRORS_FILE in folder.files or folder.record is None:
            reported.add(folder.stage.name)
        if DIVERGED_FILE in folder.files:
            reason = store.read(folder.stage.path(DIVERGED_FILE)).decode()
            errors.append(
                {"track_id": "", "stage": folder.stage.name, "reason": "diverged", "detail": reason}
            )
        rows += [redacted(row | {"folder": folder.stage.folder}) for row in errors]
    return pa.Table.from_pylist(rows, schema=FAILED)


def _track_errors(folder: StageFolder) -> Iterator[dict[str, Any]]:
    """Yield a stage's errors table, or the failed rows of its blocks if it did not finish."""
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
    """Group the errors by stage and reason, the most frequent first."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows.to_pylist():
        groups[row["stage"], row["reason"]].append(row)
    groups_of_rows = [
        Group(stage, reason, len(members), members[:examples])
        for (stage, reason), members in groups.items()
    ]
    return sorted(groups_of_rows, key=lambda group: (-group.count, group.stage, group.reason))


def show_errors(store: Store, examples: int, out: str | None) -> None:
    """Print the failures by stage and reason, and write all of them to ``out`` as CSV.

    A terminal gets a table, anything else one JSON line per group.
    """
    rows = failed_rows(store)
    groups = grouped(rows, examples)
    if console.is_terminal:
        console.print(errors_table(groups) if groups else "no errors")
    else:
        for group in groups:
            print(json.dumps(dataclasses.asdict(group)), flush=True)
    if out is not None:
        stream = io.BytesIO()
        pyarrow.csv.write_csv(without_formulas(rows), stream)
        write_atomically(*resolve(out), stream.getvalue())
        event("errors", "written", rows=rows.num_rows, file=out)


def without_formulas(rows: pa.Table) -> pa.Table:
    """Return text columns whose cells no spreadsheet takes for a formula.

    A cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return gets a leading
    apostrophe (OWASP, "CSV Injection").
    """
    return pa.table(
        {
            name: pc.replace_substring_regex(rows.column(name), r"\A([=+\-@\t\r])", r"'\1")
            for name in rows.column_names
        }
    )


def errors_table(groups: list[Group]) -> Table:
    """Return the groups as a table for a terminal."""
    columns = ("stage", "reason", "count", "for example")
    table = terminal_table(columns, right={"count"}, no_wrap=columns[:-1])
    for group in groups:
        lines = [
            ": ".join(part for part in (row["track_id"], row["detail"]) if part)
            for row in group.examples
        ]
        table.add_row(
            group.stage, group.reason, str(group.count), "\n".join(lines), end_section=True
        )
    return table
