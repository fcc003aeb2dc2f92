"""A training run of seconds over made features, and how two of them are compared."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch

from musicrec import schema
from musicrec.features import codec
from musicrec.specs.submodel import SubmodelSpec
from musicrec.storage.parquet import parquet_bytes
from musicrec.storage.store import Store
from musicrec.training.checkpoints import StoreCheckpoints, load_weights
from musicrec.training.loop import Schedule
from musicrec.training.training_run import EXAMPLES, TrainingRun

EPOCHS = 9
TIMED = ("seconds", "examples_per_second", "peak_mebibytes", "ended")
TRAIN, VALIDATION, DIMENSIONS = 24, 8, 4
SPEC = SubmodelSpec(
    "mfcc.large_rnn",
    "large_rnn",
    DIMENSIONS,
    feature="mfcc",
    sizes={"hidden": (4, 4, 4)},
    pool=(1, 16),
)


def prepare(root: str) -> TrainingRun:
    """A store with one part of made features, and a training of it."""
    store = Store(root)
    generator = np.random.default_rng(0)
    rows = TRAIN + VALIDATION
    field = codec.field("mfcc", (12, 643), "float32")
    cells = [codec.encode(generator.normal(size=(12, 643)), "float32") for _ in range(rows)]
    store.write(
        "part.parquet",
        parquet_bytes(pa.table({"mfcc": cells}, pa.schema([field])), row_group_size=8),
    )
    artists = [f"a{row}" for row in range(rows)]
    vectors = list(generator.normal(size=(rows, DIMENSIONS)).astype(np.float32))
    store.write_table(
        "embeddings.parquet",
        pa.table({"artist_id": artists, "vector": vectors}, schema.EMBEDDINGS),
        schema.EMBEDDINGS,
    )
    examples = {
        "track_id": [f"t{row}" for row in range(rows)],
        "artist_id": artists,
        "split": ["train"] * TRAIN + ["validation"] * VALIDATION,
        "part": [store.uri("part.parquet")] * rows,
        "row": list(range(rows)),
    }
    store.write_table(
        "submodels/key/examples.parquet",
        schema.conform(pa.table(examples), EXAMPLES, "examples"),
        EXAMPLES,
    )
    store.write_json("submodels/key/spec.json", SPEC.as_json())
    return TrainingRun(
        store=root,
        name="mfcc.large_rnn",
        folder="submodels/key",
        kind="submodel",
        objective="embedding",
        targets="embeddings.parquet",
        schedule=Schedule((1e-3,), (EPOCHS,), EPOCHS, 8),
        seed=0,
    )


def assert_same_training(store: Store, folder: str, other: Store, other_folder: str) -> None:
    """Every epoch the same but for its times, and the same weights to the bit."""
    histories = [
        StoreCheckpoints(*place).load_last()["progress"]["history"]
        for place in ((store, folder), (other, other_folder))
    ]
    first, second = (
        [{k: v for k, v in record.items() if k not in TIMED} for record in history]
        for history in histories
    )
    assert first == second
    weights, others = load_weights(store, folder), load_weights(other, other_folder)
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
