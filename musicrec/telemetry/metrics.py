"""Export metrics of extraction and training through Ray to Prometheus.

Ray exports a counter NAME as ``ray_NAME_total`` and a gauge as ``ray_NAME`` on each node's metrics
port. Only drivers record, so a block or an epoch counts once however often it was retried, and the
number of series does not grow with the workers.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal

from musicrec.telemetry.log import run_name


@dataclass(frozen=True)
class Definition:
    """A metric: its kind, its description, and its label in addition to ``run``."""

    kind: Literal["counter", "gauge"]
    label: Literal["stage", "model"]
    description: str

    def exported(self, name: str) -> str:
        """Return the name under which Prometheus collects it."""
        return f"ray_{name}_total" if self.kind == "counter" else f"ray_{name}"


METRICS = {
    "musicrec_clips_done": Definition("counter", "stage", "Files read and extracted"),
    "musicrec_clips_failed": Definition(
        "counter", "stage", "Files that became rows of the errors table"
    ),
    "musicrec_audio_seconds": Definition("counter", "stage", "Seconds of audio decoded"),
    "musicrec_bytes_written": Definition("counter", "stage", "Bytes of committed blocks"),
    "musicrec_blocks_queued": Definition(
        "gauge", "stage", "Blocks of the manifest that are not committed yet"
    ),
    "musicrec_epoch": Definition("gauge", "model", "Completed epochs"),
    "musicrec_loss": Definition("gauge", "model", "Mean training loss of the last epoch"),
    "musicrec_validation": Definition("gauge", "model", "Validation metric of the last epoch"),
    "musicrec_epoch_seconds": Definition("gauge", "model", "Duration of the last epoch in seconds"),
}


def blocks_queued(stage: str, blocks: int) -> None:
    """Record the number of a stage's blocks that are not committed yet."""
    _record("musicrec_blocks_queued", stage, blocks)


def block_done(
    stage: str, rows: int, errors: int, audio_seconds: float, bytes_written: int
) -> None:
    """Record a committed block of ``rows`` files, of which ``errors`` failed."""
    _record("musicrec_clips_done", stage, rows - errors)
    _record("musicrec_clips_failed", stage, errors)
    _record("musicrec_audio_seconds", stage, audio_seconds)
    _record("musicrec_bytes_written", stage, bytes_written)


def epoch_done(model: str, record: dict[str, float]) -> None:
    """Record a model's epoch; ``record`` is the training loop's, whose epochs count from 0."""
    _record("musicrec_epoch", model, record["epoch"] + 1)
    _record("musicrec_loss", model, record["loss"])
    _record("musicrec_validation", model, record["validation"])
    _record("musicrec_epoch_seconds", model, record["seconds"])


def _record(name: str, value_of_label: str, value: float) -> None:
    definition, labels = METRICS[name], {METRICS[name].label: value_of_label, "run": run_name()}
    if definition.kind == "gauge":
        _metric(name).set(float(value), tags=labels)
    elif value > 0:  # Ray rejects an increment of 0
        _metric(name).inc(float(value), tags=labels)


@functools.cache
def _metric(name: str) -> Any:
    from ray.util.metrics import Counter, Gauge

    definition = METRICS[name]
    kind = Counter if definition.kind == "counter" else Gauge
    return kind(name, description=definition.description, tag_keys=(definition.label, "run"))
