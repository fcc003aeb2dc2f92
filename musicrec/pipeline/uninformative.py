"""Find the recordings that no model is trained on: silence, and sound that does not change."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from musicrec.audio import FEATURE_SHAPES
from musicrec.config.names import SPECTRAL_FEATURES
from musicrec.features.informative import CONSTANT, SILENT, reasons_of_part
from musicrec.pipeline.base import REVISION, Outcome, Run, run_stage
from musicrec.pipeline.extract import places
from musicrec.storage.store import Stage, check_counts, fingerprint

TABLE = "left_out.parquet"
LEFT_OUT = pa.schema(
    [
        pa.field("track_id", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)


def uninformative(run: Run, extracted: Outcome) -> dict[str, str]:
    """Return the reason (silent, constant) of each track whose recording says nothing.

    They are found once per extraction, from its smallest spectral feature. Pictures in place of
    recordings are not looked at.
    """
    if not _feature(run):
        return {}
    stage = _stage(run, extracted)
    record = stage.success()
    if record is None:
        label = "recordings that say nothing"
        record = run_stage(run, stage, lambda stage: _find(run, stage, extracted), label).record
    if record["rows_out"] == record["rows_in"]:
        return {}
    table = run.store.read_table(stage.path(TABLE), LEFT_OUT)
    return dict(zip(*(table.column(name).to_pylist() for name in LEFT_OUT.names), strict=True))


def uninformative_sentence(run: Run, extracted: Outcome) -> str | None:
    """Return the number of tracks per reason as a sentence; None if there are none."""
    record = _stage(run, extracted).success() or {}
    counts = {name: record.get(f"rows_{name}", 0) for name in (SILENT, CONSTANT)}
    if not any(counts.values()):
        return None
    listed = ", ".join(f"{count} {reason}" for reason, count in counts.items())
    return f"Recordings that say nothing, and so no training rows: {listed}"


def _stage(run: Run, extracted: Outcome) -> Stage:
    return run.store.stage("uninformative", fingerprint(REVISION, extracted.stage.key))


def _feature(run: Run) -> str | None:
    """Return the extracted feature with the fewest rows, the last of equals."""
    spectral = [name for name in run.config.extract.features if name in SPECTRAL_FEATURES]
    return min(reversed(spectral), key=lambda name: FEATURE_SHAPES[name][0], default=None)


def _find(run: Run, stage: Stage, extracted: Outcome) -> dict[str, Any]:
    from musicrec.runtime.cluster import connect, map_unordered

    connect(run.config.ray)
    feature = _feature(run)
    parts: dict[str, list[tuple[str, int]]] = {}
    for track, (part, row) in places(run, extracted, feature).items():
        parts.setdefault(part, []).append((track, row))
    reasons = sorted(
        reason
        for reasons in map_unordered(reasons_of_part, parts.items(), feature)
        for reason in reasons
    )
    table = pa.table(list(zip(*reasons, strict=True)) or [[], []], schema=LEFT_OUT)
    run.store.write_table(stage.path(TABLE), table, LEFT_OUT)
    rows = sum(len(tracks) for tracks in parts.values())
    counts = {name: sum(reason == name for _, reason in reasons) for name in (SILENT, CONSTANT)}
    check_counts(stage.name, rows, rows - len(reasons), sum(counts.values()))
    return {
        "rows_in": rows,
        "rows_out": rows - len(reasons),
        **{f"rows_{name}": count for name, count in counts.items()},
    }
