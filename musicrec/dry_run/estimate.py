"""What extraction and training would take, from a sample of inputs that is read and timed, and from the time of a training's step."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from musicrec.extraction.isolation import Reader, read_bounded
from musicrec.extraction.manifest import part_bytes
from musicrec.storage.store import resolve

if (
    TYPE_CHECKING
):  # torch takes seconds to load, and the workers that read inputs have no use for it
    from musicrec.training.loop import Schedule

MISSING = "not_found"
# Two-sided 95 % of a normal distribution.
Z95 = 1.96


@dataclass(frozen=True)
class TimedSample:
    """Some inputs as a worker read them, one after the other.

    Attributes
    ----------
    reasons
        Why some of the ``rows`` failed.
    cpu_seconds, wall_seconds
        Of reading them and packing what came out.
    bytes_read, bytes_written
        Of the files, and of their rows in a block.
    block_bytes
        Of a block's file beside its rows.
    """

    rows: int
    reasons: tuple[str, ...]
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    bytes_read: int = 0
    bytes_written: int = 0
    block_bytes: int = 0


def read_timed(rows: pa.Table, reader: Reader, seconds_per_file: float) -> TimedSample:
    """Read planned rows as extraction does, and commit nothing; this process ends if one takes more than ``seconds_per_file``."""
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
    """Once in a process: loading libraries and kernels is no part of the time of a clip."""
    if type(reader) not in _warm:
        part_bytes(read_bounded(row, reader, seconds_per_file))
        _warm.add(type(reader))


@dataclass(frozen=True)
class Extraction:
    """What reading one kind of input is expected to take.

    Attributes
    ----------
    rows, done
        Of the catalog, and those of them that were extracted before; the figures are of the others.
    failed
        Reasons of the sample's errors, and how often each occurred.
    failed_share
        A 95 % interval of the share of inputs that are missing or unreadable.
    cpu_hours, slot_hours
        CPU time, and the time for which a CPU is taken: waiting for the storage included. The latter is what is paid for.
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
        """Files of the sample that are not there."""
        return self.failed.get(MISSING, 0)


def estimate(
    kind: str, rows: int, left: int, rows_per_block: int, readings: Sequence[TimedSample]
) -> Extraction:
    """What reading the ``left`` rows of ``rows`` is expected to take, from the readings of a sample of them."""
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
    """A 95 % interval of a probability (Wilson 1927, Probable Inference); (0, 1) without a trial."""
    if trials == 0:
        return 0.0, 1.0
    share, z2 = events / trials, Z95**2
    centre = share + z2 / (2 * trials)
    spread = Z95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return max(0.0, (centre - spread) / (1 + z2 / trials)), min(
        1.0, (centre + spread) / (1 + z2 / trials)
    )


@dataclass(frozen=True)
class Training:
    """What one submodel's trainings are expected to take; hours of all their workers together.

    ``fewest`` is with stages that never improve after their first epoch, ``most`` with all the epochs that are allowed.
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
    """Hours from the seconds of a step and of a forward pass alone.

    Parameters
    ----------
    trainings
        How many times the model is trained, each on all examples: once, and for each fold without its share.
    """
    seconds = (
        math.ceil(examples / schedule.batch_size) * step
        + math.ceil(validation / schedule.batch_size) * forward
    )
    fewest = sum(min(1 + patience, schedule.maximum_epochs) for patience in schedule.patience)
    most = len(schedule.learning_rates) * schedule.maximum_epochs
    hours = trainings * seconds / 3600
    return Training(model, examples, step, hours, hours * fewest, hours * most)
