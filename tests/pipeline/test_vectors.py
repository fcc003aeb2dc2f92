"""Files of vectors: the same numbers as computed from the stored features, in the tracks' order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from musicrec.audio import FEATURE_SHAPES
from musicrec.features import codec
from musicrec.features.reader import read_stored
from musicrec.features.vectors import compute_vector
from musicrec.pipeline.vectors import write_vectors
from musicrec.storage.store import Store, parquet_bytes


def test_a_file_of_vectors_is_read_like_a_feature(tmp_path: Path) -> None:
    store, names = Store(str(tmp_path)), ("chroma", "mfcc")
    generator = np.random.default_rng(0)
    arrays = {
        name: generator.random((20, *FEATURE_SHAPES[name])).astype(np.float32) for name in names
    }
    for name in names:  # two parts, as after extending a store by a feature
        cells = [codec.encode(array, "float32") for array in arrays[name]]
        field = codec.field(name, FEATURE_SHAPES[name], "float32")
        table = pa.table([cells], schema=pa.schema([field]))
        store.write(f"{name}.parquet", parquet_bytes(table, row_group_size=8))
    # The rows of the second part are in another order.
    members = [
        (f"t{row}", ((store.uri("chroma.parquet"), row), (store.uri("mfcc.parquet"), 19 - row)))
        for row in (3, 0, 11, 19, *range(4, 10))
    ]
    write_vectors(("vectors/a.parquet", members), store.root, "statistics", names)
    places = [(store.uri("vectors/a.parquet"), row) for row in range(len(members))]
    for (track, _), (vector, _) in zip(members, read_stored(places, "statistics"), strict=True):
        row = int(track.removeprefix("t"))
        own = {"chroma": arrays["chroma"][row], "mfcc": arrays["mfcc"][19 - row]}
        np.testing.assert_array_equal(vector, compute_vector("statistics", own))
