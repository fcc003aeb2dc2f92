"""Our own metrics, through Ray to Prometheus: what the drivers know of extraction and training as it goes on.

Ray exports a counter NAME as ``ray_NAME_total`` and a gauge as ``ray_NAME``, from each node's metrics port. Only drivers record: a block or
an epoch is counted once, whatever was tried again for it, and the series do not grow with the workers.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal

from musicrec.telemetry.progress import run_name


@dataclass(frozen=True)
class Definition:
    """A metric: what it counts, in which unit, and its label beside ``run``, the job's name and start."""

    kind: Literal["counter", "gauge"]
    label: Literal["stage", "model"]
    description: str

    def exported(self, name: str) -> str:
        """The name under which Prometheus finds it."""
        return f"ray_{name}_total" if self.kind == "counter" else f"ray_{name}"


METRICS = {
    "musicrec_clips_done": Definition("counter", "stage", "Files read and extracted"),
    "musicrec_clips_failed": Definition(
        "counter", "stage", "Files that became rows of the errors table"
    ),
    "musicrec_audio_seconds": Definition("counter", "stage", "Seconds of audio decoded"),
    "musicrec_bytes_written": Definition("counter", "stage", "Bytes of committed blocks"),
    "musicrec_blocks_queued": Definition(
        "gauge", "stage", "Blocks of the plan that are not committed yet"
    ),
    "musicrec_epoch": Definition("gauge", "model", "Epochs that are done"),
    "musicrec_loss": Definition("gauge", "model", "Mean training loss of the last epoch"),
    "musicrec_validation": Definition("gauge", "model", "Validation metric of the last epoch"),
    "musicrec_epoch_seconds": Definition("gauge", "model", "Seconds that the last epoch took"),
}


def blocks_queued(stage: str, blocks: int) -> None:
    """How many blocks of a stage's plan are still to be committed."""
    _record("musicrec_blocks_queued", stage, blocks)


def block_done(
    stage: str, rows: int, errors: int, audio_seconds: float, bytes_written: int
) -> None:
    """A block was committed: ``rows`` files, of which ``errors`` could not be read."""
    _record("musicrec_clips_done", stage, rows - errors)
    _record("musicrec_clips_failed", stage, errors)
    _record("musicrec_audio_seconds", stage, audio_seconds)
    _record("musicrec_bytes_written", stage, bytes_written)


def epoch_done(model: str, record: dict[str, float]) -> None:
    """A model's epoch ended; ``record`` is that of the training loop, whose epochs count from 0."""
    _record("musicrec_epoch", model, record["epoch"] + 1)
    _record("musicrec_loss", model, record["loss"])
    _record("musicrec_validation", model, record["validation"])
    _record("musicrec_epoch_seconds", model, record["seconds"])


def _record(name: str, value_of_label: str, value: float) -> None:
    definition, labels = METRICS[name], {METRICS[name].label: value_of_label, "run": run_name()}
    if definition.kind == "gauge":
        _metric(name).set(float(value), tags=labels)
    elif value > 0:  # Ray refuses to count nothing
        _metric(name).inc(float(value), tags=labels)


@functools.cache
def _metric(name: str) -> Any:
    from ray.util.metrics import Counter, Gauge

    definition = METRICS[name]
    kind = Counter if definition.kind == "counter" else Gauge
    return kind(name, description=definition.description, tag_keys=(definition.label, "run"))
