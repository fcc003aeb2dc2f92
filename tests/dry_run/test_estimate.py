from __future__ import annotations

import pytest

from musicrec.dry_run.estimate import TimedSample, estimate, estimate_training, wilson_interval
from musicrec.training.loop import Schedule


def reading(rows: int = 1, reasons: tuple[str, ...] = (), cpu: float = 1.0) -> TimedSample:
    sizes = {"bytes_read": 100 * rows, "bytes_written": 10 * rows, "block_bytes": 7}
    return TimedSample(rows, reasons, cpu_seconds=cpu, wall_seconds=2 * cpu, **sizes)


def test_a_sample_is_scaled_to_the_rows_left() -> None:
    part = estimate(
        "audio",
        1000,
        360,
        rows_per_block=32,
        readings=[reading(cpu=5.0), reading(rows=3, cpu=35.0)],
    )
    assert (part.rows, part.done, part.sampled) == (1000, 640, 4)
    assert (part.cpu_hours, part.slot_hours) == (pytest.approx(1.0), pytest.approx(2.0))
    assert part.bytes_read == 36_000
    assert part.bytes_written == 3600 + 12 * 7  # rows, and twelve blocks


def test_missing_and_unreadable_files_are_counted_separately() -> None:
    readings = [reading(3, ("not_found", "truncated")), reading(4, ("not_found",)), reading()]
    part = estimate("audio", 9, 9, 32, readings)
    assert part.failed == {"not_found": 2, "truncated": 1}
    assert part.missing == 2
    assert part.failed_share[0] < 3 / 8 < part.failed_share[1]


def test_nothing_is_left_when_all_is_done() -> None:
    part = estimate("audio", 50, 0, 32, [])
    assert (part.done, part.cpu_hours, part.bytes_read, part.bytes_written, part.failed) == (
        50,
        0,
        0,
        0,
        {},
    )


@pytest.mark.parametrize(
    ("events", "trials", "expected"),
    [
        (0, 32, (0.000000, 0.107179)),
        (3, 32, (0.032402, 0.242182)),
        (32, 32, (0.892821, 1.000000)),
        (1, 1, (0.206549, 1.000000)),
        (0, 0, (0.0, 1.0)),
    ],
)
def test_the_interval_is_wilsons(events: int, trials: int, expected: tuple[float, float]) -> None:
    assert wilson_interval(events, trials) == pytest.approx(expected, abs=1e-6)


def test_hours_of_a_training_follow_its_schedule() -> None:
    schedule = Schedule(
        learning_rates=(1e-3, 1e-4), patience=(3, 30), maximum_epochs=20, batch_size=8
    )
    result = estimate_training(
        "mel.time", 3.6, 1.8, schedule, examples=81, validation=16, trainings=5
    )
    epoch = 5 * (11 * 3.6 + 2 * 1.8) / 3600
    assert result.epoch_hours == pytest.approx(epoch)
    assert result.fewest_hours == pytest.approx(
        epoch * (4 + 20)
    )  # patience is never longer than a phase
    assert result.most_hours == pytest.approx(epoch * 40)
