"""Compare training through Ray with a bare loop, one worker with two, and few tracks with many.

All inputs are synthetic mel spectrograms, stored as extraction stores them. The bare loop has the
same tensors in memory and does the same steps in a process with the same environment; bare runs and
Ray runs take turns. A Ray run's rate is taken between the ends of its first and last epoch,
including checkpoints and reports; reading, decoding and standardising happen in the first epoch.

A second worker is measured on whole clips, and on clips pooled as in the demo preset, whose steps
are so short that their fixed cost is much of them. Next to its gain is printed what the machine
could give at that moment: two bare loops, each with half of every batch and no communication,
relative to one. The layers come last: see ``benchmark.py layers``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from musicrec import schema
from musicrec.config.sections import RaySettings, TrainSettings
from musicrec.extraction.manifest import ROW_GROUP_ROWS
from musicrec.features import codec
from musicrec.specs.submodel import SubmodelSpec
from musicrec.storage.parquet import parquet_bytes
from musicrec.storage.store import Store
from musicrec.training.loop import Schedule
from musicrec.training.training_run import EXAMPLES, TrainingRun

FRACTION_TARGET, WORKERS_TARGET, MEMORY_TARGET = 0.90, 1.6, 1.10
ROWS_OF_PART, PARTS, VALIDATION, ARTISTS, DIMENSIONS = 32, 16, 16, 64, 32
SPEC = SubmodelSpec("mel.time", "time", DIMENSIONS, feature="mel", pool=(4, 4))
WHOLE = SubmodelSpec("mel.time", "time", DIMENSIONS, feature="mel")


def run(arguments: list[str]) -> int:
    """Run the benchmark and print it; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="benchmark.py train", description=__doc__)
    parser.add_argument(
        "--clips", type=int, default=1024, help="training clips per epoch (default %(default)s)"
    )
    parser.add_argument("--epochs", type=int, default=12, help="(default %(default)s)")
    parser.add_argument(
        "--whole-clips",
        type=int,
        default=256,
        help="training clips per epoch of whole clips (default %(default)s)",
    )
    parser.add_argument("--whole-epochs", type=int, default=4, help="(default %(default)s)")
    parser.add_argument(
        "--turns", type=int, default=3, help="runs of each kind (default %(default)s)"
    )
    parser.add_argument(
        "--batch", type=int, default=8, help="batch size, the thesis' (default %(default)s)"
    )
    parser.add_argument(
        "--without-layers", action="store_true", help="skip the comparison of the layers"
    )
    options = parser.parse_args(arguments)
    from musicrec.runtime.cluster import connect

    connect(RaySettings(num_cpus=os.cpu_count()))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Store(folder))
        fractions: list[float] = []
        gains: dict[str, list[float]] = {"pooled": [], "whole": []}
        attainable: dict[str, list[float]] = {"pooled": [], "whole": []}
        for turn in range(options.turns):
            for kind, spec, clips, epochs in (
                ("pooled", SPEC, options.clips, options.epochs),
                ("whole", WHOLE, options.whole_clips, options.whole_epochs),
            ):
                bare, side_by_side = (
                    bench.bare(spec, clips, epochs, options.batch, loops) for loops in (1, 2)
                )
                one, two = (
                    bench.through_ray(
                        f"{kind}-{workers}-{turn}", clips, epochs, options.batch, workers, spec=spec
                    )[0]
                    for workers in (1, 2)
                )
                gains[kind].append(two / one)
                attainable[kind].append(side_by_side / bare)
                if kind == "pooled":
                    fractions.append(one / bare)
                print(
                    f"turn {turn + 1}, {kind:<6} clips: bare loop {bare:6.1f} clips/s, "
                    f"two at once {side_by_side:6.1f}, "
                    f"Ray with one worker {one:6.1f}, with two {two:6.1f}",
                    flush=True,
                )
        small, few = (
            bench.through_ray(f"memory-{count}", count, 2, options.batch, cache_gigabytes=0.05)[1]
            for count in (1_000, 10_000)
        )
    growth = few / small
    print(f"(a) Ray / bare loop            {_spread(fractions)}   target >= {FRACTION_TARGET}")
    print(f"(b) two workers / one          {_spread(gains['whole'])}   target >= {WORKERS_TARGET}")
    print(
        f"    two bare loops / one       {_spread(attainable['whole'])}   "
        "what the machine gave at the time"
    )
    print(f"    on pooled clips            {_spread(gains['pooled'])}")
    print(f"    two bare loops / one       {_spread(attainable['pooled'])}")
    print(
        f"(d) memory, 10,000 / 1,000     {growth:.3f} ({few:.0f} / {small:.0f} MiB)   "
        f"target < {MEMORY_TARGET}"
    )
    missed = (
        statistics.median(fractions) < FRACTION_TARGET
        or statistics.median(gains["whole"]) < WORKERS_TARGET
        or growth >= MEMORY_TARGET
    )
    if options.without_layers:
        return int(missed)
    from musicrec.benchmarks import layers

    print("(c) layers, forward and backward")
    return max(int(missed), layers.run([]))


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} .. {max(values):.3f})"


class Bench:
    """Synthetic inputs in a store, and training runs on them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        generator = np.random.default_rng(0)
        field = codec.field("mel", (256, 643), "uint8")
        for part in range(PARTS):
            # Smooth over time, as music is, so that a part compresses like one of music.
            values = generator.normal(-40, 10, (ROWS_OF_PART, 256, 41)).repeat(16, axis=2)[
                :, :, :643
            ]
            table = pa.table(
                {"mel": [codec.encode(value, "uint8") for value in values]}, pa.schema([field])
            )
            store.write(
                f"parts/{part}.parquet", parquet_bytes(table, row_group_size=ROW_GROUP_ROWS)
            )
        vectors = generator.normal(size=(ARTISTS, DIMENSIONS)).astype(np.float32)
        table = pa.table(
            {"artist_id": [f"a{row}" for row in range(ARTISTS)], "vector": list(vectors)},
            schema.EMBEDDINGS,
        )
        store.write_table("embeddings.parquet", table, schema.EMBEDDINGS)

    def training_run(
        self,
        name: str,
        clips: int,
        epochs: int,
        batch: int,
        cache_gigabytes: float,
        spec: SubmodelSpec,
    ) -> TrainingRun:
        """Prepare the folder of a training run; many clips are hard links to the same parts."""
        rows = clips + VALIDATION
        parts = -(-rows // ROWS_OF_PART)
        folder = f"trainings/{name}"
        Path(self.store.uri(f"{folder}/parts")).mkdir(parents=True)
        for part in range(parts):
            os.link(
                self.store.uri(f"parts/{part % PARTS}.parquet"),
                self.store.uri(f"{folder}/parts/{part}.parquet"),
            )
        examples = {
            "track_id": [f"t{row}" for row in range(rows)],
            "artist_id": [f"a{row % ARTISTS}" for row in range(rows)],
            "split": ["train"] * clips + ["validation"] * VALIDATION,
            "part": [
                self.store.uri(f"{folder}/parts/{row // ROWS_OF_PART}.parquet")
                for row in range(rows)
            ],
            "row": [row % ROWS_OF_PART for row in range(rows)],
        }
        table = schema.conform(pa.table(examples), EXAMPLES, "examples")
        self.store.write_table(f"{folder}/examples.parquet", table, EXAMPLES)
        self.store.write_json(f"{folder}/spec.json", spec.as_json())
        schedule = Schedule((1e-3,), (epochs,), epochs, batch)
        return TrainingRun(
            store=self.store.root,
            name=name,
            folder=folder,
            kind="submodel",
            objective="embedding",
            targets="embeddings.parquet",
            schedule=schedule,
            seed=0,
            cache_gigabytes=cache_gigabytes,
        )

    def through_ray(
        self,
        name: str,
        clips: int,
        epochs: int,
        batch: int,
        workers: int = 1,
        cache_gigabytes: float = 1.0,
        spec: SubmodelSpec = SPEC,
    ) -> tuple[float, float]:
        """Return clips per second after the first epoch, and the first worker's peak MiB."""
        from musicrec.training.distributed import train_all

        ends: list[float] = []
        records: list[dict[str, float]] = []

        def on_epoch(_: str, record: dict[str, float]) -> None:
            ends.append(record["ended"])
            records.append(record)

        def done(*_: Any) -> None:
            """Ignore the end of a run: the records have all that is measured."""

        training_run = self.training_run(name, clips, epochs, batch, cache_gigabytes, spec)
        train_all([training_run], TrainSettings(workers=workers), on_epoch, done, done)
        return clips * (len(ends) - 1) / (ends[-1] - ends[0]), records[-1]["peak_mebibytes"]

    def bare(
        self, spec: SubmodelSpec, clips: int, epochs: int, batch: int, loops: int = 1
    ) -> float:
        """Return clips per second of plain loops over tensors in memory.

        Each loop runs in its own process on one CPU, with its fraction of every batch.
        """
        import ray

        gate = ray.remote(num_cpus=0)(Gate).remote(loops)
        task = ray.remote(num_cpus=1, max_calls=1)(bare_loop)
        seconds = ray.get(
            [task.remote(spec, clips // loops, epochs, batch // loops, gate) for _ in range(loops)]
        )
        return clips // loops * loops * (epochs - 1) / max(seconds)


class Gate:
    """Make callers wait for each other."""

    def __init__(self, parties: int) -> None:
        self.barrier = asyncio.Barrier(parties)

    async def wait(self) -> None:
        """Wait until all parties have called."""
        await self.barrier.wait()


def bare_loop(spec: SubmodelSpec, clips: int, epochs: int, batch: int, gate: Any) -> float:
    """Return the seconds of all epochs but the first, after which the loops wait for each other."""
    import ray
    import torch

    from musicrec.training.objectives import EMBEDDING

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = spec.build().train()
    inputs, targets = torch.randn(clips, 1, *spec.input_shape()), torch.randn(clips, DIMENSIONS)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-3, eps=1e-7, weight_decay=0.0, fused=True
    )
    started = 0.0
    for epoch in range(epochs):
        for rows in torch.randperm(clips).split(batch):
            loss = EMBEDDING.loss(model(inputs[rows]), targets[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        if epoch == 0:
            ray.get(gate.wait.remote())
            started = time.perf_counter()
    return time.perf_counter() - started
