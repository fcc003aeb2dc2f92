"""What a stack reads of its submodels: in sample as the thesis, or out of fold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from musicrec import schema
from musicrec.storage.store import Store
from musicrec.training.predictions import NO_FOLD, Predictions, read_outputs, read_predictions

TRACKS = ["a", "b", "c", "d"]
TRAIN = np.array([True, True, False, True])


def write(store: Store, name: str, vectors: dict[str, list[float]], fold: int = NO_FOLD) -> str:
    rows = [
        {"track_id": track, "submodel": "m", "fold": fold, "vector": vector}
        for track, vector in vectors.items()
    ]
    store.write_table(
        name, pa.Table.from_pylist(rows, schema=schema.PREDICTIONS), schema.PREDICTIONS
    )
    return name


def test_predictions_of_several_files_in_the_order_asked_for(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    files = [
        write(store, "1.parquet", {"c": [3, 3], "a": [1, 1]}),
        write(store, "2.parquet", {"x": [9, 9], "b": [2, 2]}),
    ]
    assert read_predictions(store, files, TRACKS, 2).tolist() == [[1, 1], [2, 2], [3, 3], [0, 0]]
    assert read_predictions(store, [], TRACKS, 2).tolist() == [[0, 0]] * 4


def test_a_stack_learns_from_predictions_of_models_that_did_not_see_the_track(
    tmp_path: Path,
) -> None:
    store = Store(str(tmp_path))
    whole = [write(store, "whole.parquet", {"a": [1], "b": [2], "c": [3], "d": [4]})]
    folds = [write(store, "0.parquet", {"a": [10]}, 0), write(store, "1.parquet", {"b": [20]}, 1)]
    assert read_outputs(store, Predictions(whole, []), TRACKS, TRAIN, 1).ravel().tolist() == [
        1,
        2,
        3,
        4,
    ]
    # c is validation: the served model predicts it. d is a training track that no fold could
    # predict: it counts as missing, not as seen.
    assert read_outputs(store, Predictions(whole, folds), TRACKS, TRAIN, 1).ravel().tolist() == [
        10,
        20,
        3,
        0,
    ]
