"""Estimate extraction and training from a timed sample of inputs and a timed training step."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from scipy.stats import binomtest

from musicrec.extraction.isolation import Reader, read_bounded
from musicrec.extraction.manifest import part_bytes
from musicrec.storage.store import resolve

# torch takes seconds to load, and the workers that read inputs do not need it.
if TYPE_CHECKING:
    from musicrec.training.loop import Schedule

MISSING = "not_found"


@dataclass(frozen=True)
class TimedSample:
    """Inputs that one worker read one after the other.

    Attributes
    ----------
    reasons
        Reasons of the failures among the ``rows``.
    cpu_seconds, wall_seconds
        To read them and encode the result.
    bytes_read, bytes_written
        Size of the files, and of their rows in a block.
    block_bytes
        Size of a block's file without rows.
    """

    rows: int
    reasons: tuple[str, ...]
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    bytes_read: int = 0
    bytes_written: int = 0
    block_bytes: int = 0


def read_timed(rows: pa.Table, reader: Reader, seconds_per_file: float) -> TimedSample:
    """Read planned rows as extraction does, without committing them.

    The process exits if one row takes longer than ``seconds_per_file``.
    """
    _warm_up(rows.slice(0, 1), reader, seconds_per_file)
    sizes = [
        filesystem.get_file_info(path).size
        for filesystem, path in map(resolve, rows.column("uri").to_pylist())
    ]
    wall, cpu = time.perf_counter(), time.process_time()
    outcome = read_bounded(rows, reader, seconds_per_file)
    written = len(part_bytes(outcome))
    spent = time.process_time() - cpu, time.perf_counter() - wall
    around = len(part_bytes(outcome.slice(0, 0)))
    reasons = tuple(outcome.column("reason").drop_null().to_pylist())
    return TimedSample(
        rows.num_rows, reasons, *spent, sum(size or 0 for size in sizes), written - around, around
    )


_warm: set[type] = set()


def _warm_up(row: pa.Table, reader: Reader, seconds_per_file: float) -> None:
    """Read a row once per process, so that loading libraries and kernels is not timed."""
    if type(reader) not in _warm:
        part_bytes(read_bounded(row, reader, seconds_per_file))
        _warm.add(type(reader))


@dataclass(frozen=True)
class Extraction:
    """Expected cost of reading one kind of input.

    Attributes
    ----------
    rows, done
        Rows of the catalog, and those extracted before; the estimates cover the others.
    failed
        Error reasons in the sample, and how often each occurred.
    failed_share
        95 % interval of the fraction of inputs that are missing or unreadable.
    cpu_hours, slot_hours
        CPU time, and the time for which a CPU is occupied, including waits for the storage. The
        latter is what is paid for.
    """

    kind: str
    rows: int
    done: int
    sampled: int
    failed: dict[str, int]
    failed_share: tuple[float, float]
    cpu_hours: float
    slot_hours: float
    bytes_read: float
    bytes_written: float

    @property
    def missing(self) -> int:
        """Number of sampled files that do not exist."""
        return self.failed.get(MISSING, 0)


def estimate(
    kind: str, rows: int, left: int, rows_per_block: int, readings: Sequence[TimedSample]
) -> Extraction:
    """Estimate the reading of the ``left`` of ``rows`` rows from the readings of a sample."""
    failed = Counter(reason for reading in readings for reason in reading.reasons)
    sampled = sum(reading.rows for reading in readings)
    scale = left / sampled if sampled else 0.0
    return Extraction(
        kind=kind,
        rows=rows,
        done=rows - left,
        sampled=sampled,
        failed=dict(failed.most_common()),
        failed_share=wilson_interval(failed.total(), sampled),
        cpu_hours=scale * sum(reading.cpu_seconds for reading in readings) / 3600,
        slot_hours=scale * sum(reading.wall_seconds for reading in readings) / 3600,
        bytes_read=scale * sum(reading.bytes_read for reading in readings),
        bytes_written=scale * sum(reading.bytes_written for reading in readings)
        + math.ceil(left / rows_per_block)
        * max((reading.block_bytes for reading in readings), default=0),
    )


def wilson_interval(events: int, trials: int) -> tuple[float, float]:
    """Return the 95 % interval of a probability (Wilson 1927); (0, 1) without a trial."""
    if trials == 0:
        return 0.0, 1.0
    interval = binomtest(events, trials).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True)
class Training:
    """Expected hours of one submodel's training runs, summed over all their workers.

    ``fewest_hours`` assumes that no phase improves after its first epoch, ``most_hours`` that every
    phase uses all its epochs.
    """

    model: str
    examples: int
    step_seconds: float
    epoch_hours: float
    fewest_hours: float
    most_hours: float


def estimate_training(
    model: str,
    step: float,
    forward: float,
    schedule: Schedule,
    examples: int,
    validation: int,
    trainings: int,
) -> Training:
    """Estimate hours from the seconds of a training step and of a forward pass.

    Parameters
    ----------
    trainings
        Training runs per model, each timed with all examples: one, and one more per further fold.
    """
    seconds = (
        math.ceil(examples / schedule.batch_size) * step
        + math.ceil(validation / schedule.batch_size) * forward
    )
    fewest = sum(min(1 + patience, schedule.maximum_epochs) for patience in schedule.patience)
    most = len(schedule.learning_rates) * schedule.maximum_epochs
    hours = trainings * seconds / 3600
    return Training(model, examples, step, hours, hours * fewest, hours * most)
