"""Dry run: read a sample of a catalog, report its errors, and estimate extraction and training."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table

from musicrec.config.inputs import FIELDS, field_of
from musicrec.config.jobs import PlanConfig
from musicrec.config.load import ConfigError
from musicrec.dry_run.estimate import (
    Extraction,
    TimedSample,
    Training,
    estimate,
    estimate_training,
    read_timed,
)
from musicrec.dry_run.step_timing import TimedModel, time_steps
from musicrec.extraction.isolation import Reader, read_isolated
from musicrec.extraction.manifest import Blocks
from musicrec.features.artwork import ArtworkReader
from musicrec.features.columns import AudioReader, compile_kernels, stored_columns
from musicrec.features.lyrics import build_vocabulary, pad
from musicrec.pipeline.base import Run
from musicrec.pipeline.extract import (
    ARTWORK,
    artwork_blocks,
    artwork_items,
    audio_blocks,
    audio_items,
)
from musicrec.pipeline.extract_pretrained import pretrained_blocks
from musicrec.pipeline.launch import schedule
from musicrec.pretrained.reader import PretrainedReader
from musicrec.runtime.cluster import connect, cpus, map_unordered, on_each_node
from musicrec.specs.submodel import SubmodelSpec
from musicrec.telemetry.log import console
from musicrec.telemetry.progress import Meter
from musicrec.telemetry.tables import terminal_table

AUDIO = "audio"
# A text with a letter counts as given: texts of only stage directions are too rare to matter here.
A_LETTER = r"\pL"
TEXTS_AT_A_TIME = 1024
# Sampled rows that a worker reads per call: read singly, a row would take a third longer than in a
# block.
ROWS_PER_CALL = 8
NEVER_ESTIMATED = (
    "artist embeddings, stacks, the ensemble, evaluation and registration are not estimated, "
    "nor the start of training processes and the reading of their inputs"
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """A dry run's result.

    Attributes
    ----------
    cluster_hours
        Extraction on all CPUs of the cluster as it is now.
    cost
        By purpose, where a price is given; training as (fewest epochs, most epochs).
    not_estimated
        What is left out, and why.
    """

    extraction: list[Extraction]
    training: list[Training]
    device: str
    cluster_hours: float
    cost: dict[str, float | tuple[float, float]]
    not_estimated: list[str]


def plan(run: Run, config: PlanConfig) -> Plan:
    """Read a sample of the inputs with the run's own readers, time some training steps.

    Nothing is committed.

    Raises
    ------
    ConfigError
        The catalog's form has no audio.
    """
    if config.catalog_rules.form == "cifar100":
        raise ConfigError(
            "catalog_rules.form is 'cifar100': its images are stored in a minute, "
            "there is nothing to plan"
        )
    connect(config.ray)
    columns = stored_columns(config.extract.features)
    blocks, reader = audio_blocks(run)
    if config.extract.device == "cuda":
        reader = AudioReader(reader.precision, reader.chroma, reader.minimum_seconds)
    extraction = [
        _sampled(config, AUDIO, audio_items(run), columns, blocks, reader),
        _sampled(config, ARTWORK, artwork_items(run), (ARTWORK,), *artwork_blocks(run)),
        *(
            _sampled(config, name, audio_items(run), (name,), *pretrained_blocks(run, name))
            for name in config.extract.pretrained
        ),
    ]
    device, training, missing = _trainings(run, config)
    hours = sum(part.slot_hours for part in extraction)
    if config.extract.device == "cuda":
        missing = [*missing, "extraction is estimated on CPUs, although extract.device is cuda"]
    return Plan(
        extraction,
        training,
        device,
        hours / cpus(),
        _costs(config, extraction, training, device),
        [*missing, NEVER_ESTIMATED],
    )


def _sampled(
    config: PlanConfig,
    kind: str,
    items: pa.Table,
    columns: tuple[str, ...],
    blocks: Blocks,
    reader: AudioReader | ArtworkReader | PretrainedReader,
) -> Extraction:
    left = blocks.missing(items, columns)
    rng = np.random.default_rng([config.seed, items.num_rows])
    rows = rng.choice(left.num_rows, min(config.sample, left.num_rows), replace=False)
    sample = left.take(pa.array(rows, pa.int64())).append_column(
        "columns", pa.array([list(columns)] * len(rows), pa.list_(pa.string()))
    )
    if len(rows) and kind == AUDIO:
        on_each_node(compile_kernels)
    stage, seconds = f"plan {kind}", config.extract.seconds_per_file
    size = min(ROWS_PER_CALL, config.extract.rows_per_block)
    groups = (sample.slice(start, size) for start in range(0, len(rows), size))
    readings, lost = [], []
    with Meter(stage, len(rows), "inputs") as meter:
        whole = map_unordered(read_timed, groups, reader, seconds, lost=lost)
        for reading in itertools.chain(whole, _retry_lost(lost, reader, stage, seconds)):
            readings.append(reading)
            meter.advance(reading.rows)
    return estimate(kind, items.num_rows, left.num_rows, config.extract.rows_per_block, readings)


def _retry_lost(
    lost: list[pa.Table], reader: Reader, stage: str, seconds_per_file: float
) -> Iterator[TimedSample]:
    """Yield the failures among rows whose call was lost, with reasons, and time the other rows."""
    readable = []
    for rows, outcome in zip(
        lost, read_isolated(lost, reader, stage, seconds_per_file), strict=True
    ):
        reasons = outcome.column("reason")
        yield TimedSample(len(reasons) - reasons.null_count, tuple(reasons.drop_null().to_pylist()))
        readable.append(rows.filter(pc.is_null(reasons)))
    yield from map_unordered(read_timed, filter(len, readable), reader, seconds_per_file)


def _trainings(run: Run, config: PlanConfig) -> tuple[str, list[Training], list[str]]:
    """Return the device, the estimate of each submodel's training, and why one is missing."""
    import torch

    device = "cuda" if config.train.gpu else "cpu"
    if not config.trainings:
        return device, [], ["training is not estimated (--no-trainings)"]
    if config.train.gpu and not torch.cuda.is_available():
        return (
            device,
            [],
            [
                "GPU hours are not estimated: train.gpu is set, and the machine of this driver "
                "has no GPU; run the plan on one"
            ],
        )
    models, counts = [], {}
    for name, (timed, examples, validation) in _models(run, config):
        models.append(timed)
        counts[name] = (examples, validation)
    threads = max(1, int(config.train.cpus_per_worker))
    # A GPU is timed from here; CPUs in the workers' environment, train.parallel_runs at a time.
    timings = (
        (time_steps(model, device, threads) for model in models)
        if device == "cuda"
        else map_unordered(
            time_steps, models, device, threads, in_flight=config.train.parallel_runs
        )
    )
    seconds = {}
    with Meter("plan training", len(models), "submodels") as meter:
        for name, step, forward in timings:
            seconds[name] = (step, forward)
            meter.advance()
    # Each of n folds trains on n - 1 of n parts: together n - 1 full trainings; and one without.
    times = max(1, config.train.folds)
    return (
        device,
        [
            estimate_training(m.name, *seconds[m.name], m.schedule, *counts[m.name], times)
            for m in models
        ],
        [],
    )


def _models(run: Run, config: PlanConfig) -> Iterator[tuple[str, tuple[TimedModel, int, int]]]:
    """Yield each submodel with a batch of inputs and its training and validation track counts."""
    fields = {field_of(settings.architecture) for settings in run.config.models.values()}
    tracks = run.catalog.tracks.select(["split", *sorted(fields)])
    rng = np.random.default_rng([config.seed, tracks.num_rows])
    for name, settings in run.config.models.items():
        field = field_of(settings.architecture)
        reads_text, column = FIELDS[field].kind == "text", tracks.column(field)
        usable = tracks.filter(
            pc.fill_null(pc.match_substring_regex(column, A_LETTER), False)
            if reads_text
            else pc.is_valid(column)
        )
        train = usable.filter(pc.equal(usable.column("split"), "train"))
        validation = pc.sum(pc.equal(usable.column("split"), "validation"), min_count=0).as_py()
        if train.num_rows == 0:
            continue  # the training itself reports what is missing
        vocabulary = (
            build_vocabulary(_texts(train.column(field)), settings.maximum_vocabulary)
            if reads_text
            else None
        )
        spec = SubmodelSpec.from_settings(
            name, settings, _outputs(config, run), config.extract, vocabulary
        )
        timing = schedule(settings, config.train)
        if reads_text:
            rows = rng.integers(train.num_rows, size=timing.batch_size)
            inputs = pad(
                [
                    vocabulary.encode(text)
                    for text in train.column(field).take(pa.array(rows)).to_pylist()
                ]
            ).numpy()
        else:
            shape = (
                (3, spec.pixels, spec.pixels) if spec.kind == "file" else (1, *spec.input_shape())
            )
            inputs = rng.standard_normal((timing.batch_size, *shape), dtype=np.float32)
        yield (
            name,
            (
                TimedModel(name, spec, inputs, config.task, timing, config.seed),
                train.num_rows,
                validation,
            ),
        )


def _texts(column: pa.ChunkedArray) -> Iterator[str]:
    """Yield texts in batches: a million of them as Python strings would take gigabytes."""
    for chunk in column.chunks:
        for start in range(0, len(chunk), TEXTS_AT_A_TIME):
            yield from chunk.slice(start, TEXTS_AT_A_TIME).to_pylist()


def _outputs(config: PlanConfig, run: Run) -> int:
    """Return the models' number of outputs: embedding dimensions or genres."""
    if config.task == "embedding":
        return config.embed.dimensions
    tracks = run.catalog.tracks
    genres = (
        tracks.column("genre_top")
        if config.task == "single_genre"
        else pc.list_flatten(tracks.column("genres"))
    )
    return pc.count_distinct(genres).as_py()


def _costs(
    config: PlanConfig, extraction: list[Extraction], training: list[Training], device: str
) -> dict[str, float | tuple[float, float]]:
    costs: dict[str, float | tuple[float, float]] = {}
    if config.price_cpu_hour is not None:
        costs["extraction"] = config.price_cpu_hour * sum(part.slot_hours for part in extraction)
    price = config.price_gpu_hour if device == "cuda" else config.price_cpu_hour
    if price is not None and training:
        price *= 1 if device == "cuda" else config.train.cpus_per_worker
        costs["training"] = (
            price * sum(each.fewest_hours for each in training),
            price * sum(each.most_hours for each in training),
        )
    if config.price_gb_month is not None:
        costs["storage per month"] = (
            config.price_gb_month * sum(part.bytes_written for part in extraction) / 1e9
        )
    return costs


def show_plan(planned: Plan) -> None:
    """Print a plan: tables at a terminal, one JSON line otherwise."""
    if not console.is_terminal:
        print(json.dumps(dataclasses.asdict(planned)), flush=True)
        return
    columns = (
        "input",
        "rows",
        "done",
        "missing",
        "broken",
        "failing, %",
        "CPU time",
        "read",
        "written",
    )
    table = _table("Extraction", columns)
    for part in planned.extraction:
        low, high = part.failed_share
        unreadable = sum(part.failed.values()) - part.missing
        counts = (
            part.rows,
            part.done,
            f"{part.missing}/{part.sampled}",
            f"{unreadable}/{part.sampled}",
        )
        sizes = (_duration(part.cpu_hours), _size(part.bytes_read), _size(part.bytes_written))
        table.add_row(part.kind, *map(str, counts), f"{100 * low:.2g} .. {100 * high:.2g}", *sizes)
    console.print(table, f"Extraction on this cluster: {_duration(planned.cluster_hours)}")
    if planned.training:
        title = f"Training, {'GPU' if planned.device == 'cuda' else 'worker'} time"
        table = _table(
            title, ["submodel", "examples", "per step", "per epoch", "at least", "at most"]
        )
        for each in planned.training:
            hours = (each.epoch_hours, each.fewest_hours, each.most_hours)
            table.add_row(
                each.model,
                str(each.examples),
                f"{1000 * each.step_seconds:.3g} ms",
                *map(_duration, hours),
            )
        console.print(table)
    for name, cost in planned.cost.items():
        text = f"{cost:.4g}" if isinstance(cost, float) else f"{cost[0]:.4g} .. {cost[1]:.4g}"
        console.print(f"Cost of {name}: {text}")
    for remark in planned.not_estimated:
        console.print(remark)


def _duration(hours: float) -> str:
    """Format hours in a fitting unit, with three digits below a hundred hours."""
    if hours >= 100:
        return f"{hours:,.0f} h"
    return (
        f"{hours:.3g} h"
        if hours >= 1
        else f"{60 * hours:.3g} min"
        if 60 * hours >= 1
        else f"{3600 * hours:.3g} s"
    )


def _size(count: float) -> str:
    unit, name = next(
        ((unit, name) for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")) if count >= unit),
        (1e3, "kB"),
    )
    return f"{count / unit:{'.0f' if count >= 100 * unit else '.3g'}} {name}"


def _table(title: str, columns: Sequence[str]) -> Table:
    return terminal_table(columns, title=title, right=columns[1:], no_wrap=columns)
