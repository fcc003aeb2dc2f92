"""Flipped bits in every kind of object of a store: an equal value, or the object's name.

``MUSICREC_FLIPS`` is the number of flips of each kind (default 100), and
``MUSICREC_FLIPS_SEED`` another seed.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from musicrec import schema
from musicrec.extraction.index import INDEX
from musicrec.extraction.manifest import OUTCOME_FIELDS, ROW_GROUP_ROWS, Blocks
from musicrec.features import codec
from musicrec.features.reader import read_part, read_stored
from musicrec.serving.query_table import QUERIES, TABLE, QueryEmbedder
from musicrec.serving.recommender import Recommender, save
from musicrec.specs.ensemble import EnsembleSpec
from musicrec.storage.lock import acquire, owner_of
from musicrec.storage.parquet import parquet_bytes
from musicrec.storage.record import DamagedError
from musicrec.storage.store import SUCCESS, Store
from musicrec.training.checkpoints import StoreCheckpoints, load_state, load_weights
from musicrec.training.training_run import EXAMPLES

FLIPS = int(os.environ.get("MUSICREC_FLIPS", "100"))
SEED = int(os.environ.get("MUSICREC_FLIPS_SEED", "11"))
RANDOM = np.random.default_rng(5)
ROWS, SHAPE = ROW_GROUP_ROWS + 3, (4, 6)
FEATURES = "features/k"
PART = "parts/0000-000000.parquet"


def items() -> pa.Table:
    names = [f"track {row}" for row in range(ROWS)]
    return pa.table(
        {
            "item": names,
            "uri": [f"/music/{name}.mp3" for name in names],
            "version": pa.array(["1-2"] * ROWS),
        }
    )


def feature_rows() -> pa.Table:
    """Return rows of two features, one of them float16 and one in bytes; row 2 failed."""
    rows = [
        {"track_id": item, "audio": f"/music/{item}.mp3", "duration_seconds": 30.0 + number}
        | (
            {"reason": "not_audio", "detail": "text"}
            if number == 2
            else {
                name: codec.encode(RANDOM.normal(size=SHAPE).astype(np.float32), precision)
                for name, precision in (("mel", "float16"), ("chroma", "uint8"))
            }
        )
        for number, item in enumerate(items().column("item").to_pylist())
    ]
    fields = [
        pa.field("track_id", pa.string()),
        pa.field("audio", pa.string()),
        pa.field("duration_seconds", pa.float64()),
        codec.field("mel", SHAPE, "float16"),
        codec.field("chroma", SHAPE, "uint8"),
        *OUTCOME_FIELDS,
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def vectors(names: str, contract: pa.Schema, **columns: Any) -> pa.Table:
    values = {names: [f"{names} {row}" for row in range(ROWS)]} | columns
    values["vector"] = list(RANDOM.normal(size=(ROWS, 5)).astype(np.float32))
    return pa.table(values, schema=contract)


SIZES = {"branch_hidden": 4, "branch_outputs": 3, "pair_hidden": [4], "head": [4]}
TENSORS = {"a.weight": torch.arange(60.0).reshape(6, 10), "b": torch.tensor([1, 2])}


def write_store(store: Store) -> None:
    """Write an object of every kind, by the code that writes it in a run."""
    blocks = Blocks(store, FEATURES)
    blocks.extend(items(), ["mel", "chroma"], ROWS)
    blocks.commit("0000-000000", feature_rows())
    blocks.outcomes()
    waiting = Blocks(store, "features/waiting")
    waiting.extend(items(), ["mel"], 4)
    places = {"track_id": items().column("item"), "modality": pa.array(["mel"] * ROWS)}
    places |= {"part": pa.array([store.uri(f"{FEATURES}/{PART}")] * ROWS)}
    index = pa.table(places | {"row": pa.array(range(ROWS), pa.int32())}, schema=INDEX)
    store.write_table("extract/k/index.parquet", index, INDEX)
    store.write_table("artists/k/embeddings.parquet", embeddings(), schema.EMBEDDINGS)
    predicted = vectors("track_id", schema.PREDICTIONS, submodel=["mel"] * ROWS, fold=[-1] * ROWS)
    store.write_table("submodels/k/predictions-0-of-1.parquet", predicted, schema.PREDICTIONS)
    examples = [
        {"track_id": row["track_id"], "artist_id": "a", "split": "train"}
        | {"part": row["part"], "row": row["row"]}
        for row in index.to_pylist()
    ]
    examples = pa.Table.from_pylist(examples, schema=EXAMPLES)
    store.write_table("submodels/k/examples.parquet", examples, EXAMPLES)
    store.write_json("submodels/k/spec.json", {"name": "mel", "sizes": [3, 4], "dropout": 0.25})
    store.write_json("evaluation/k/results.json", {"mel": {"ndcg@10": 0.125, "cosine": None}})
    store.stage("submodels", "k").finish({"rows_in": 3, "validation": 0.125, "finished": 5.0})
    checkpoints = StoreCheckpoints(store, "submodels/k")
    checkpoints.save_best(TENSORS)
    checkpoints.save_last({"progress": {"epoch": 3, "history": []}, "model": TENSORS})
    state = io.BytesIO()
    torch.save({"passes": 3, "vectors": TENSORS["a.weight"]}, state)
    store.write("artists/k/last.pt", state.getvalue())
    with acquire(store, "submodels/k", "train"):
        pass
    write_queries(store)
    write_recommender(Path(store.root, "recommender"))


def embeddings() -> pa.Table:
    return vectors("artist_id", schema.EMBEDDINGS)


def write_queries(store: Store) -> None:
    queries = pa.table(
        {name: items().column(name) for name in ("item", "uri")}
        | {
            name: pa.nulls(ROWS, QUERIES.field(name).type)
            for name in QUERIES.names
            if name not in ("item", "uri")
        },
        schema=QUERIES,
    )
    store.write(f"served/{TABLE}", parquet_bytes(queries, row_group_size=4, statistics=False))


def write_recommender(folder: Path) -> None:
    spec = EnsembleSpec(5, ("year",), SIZES, {"year": (1900.0, 2000.0)}, needs_all=False)
    model = spec.build()
    weights = Store(str(folder.parent))
    StoreCheckpoints(weights, "ensembles/k").save_best(model.state_dict())
    artists = embeddings().append_column("tracks", pa.array(range(ROWS), pa.int32()))
    columns = {
        "artist_id": artists.column("artist_id"),
        "name": artists.column("artist_id"),
        "genres": pa.array([["folk"]] * ROWS),
        "country": pa.array(["FI"] * ROWS),
        "origin": pa.nulls(ROWS, pa.string()),
        "first_year": pa.array([1990] * ROWS, pa.int32()),
        "last_year": pa.nulls(ROWS, pa.int32()),
        "tracks": artists.column("tracks"),
        "vector": artists.column("vector"),
    }
    content = weights.read("ensembles/k/model.safetensors")
    save(folder, spec, [], {"recommendation": content}, pa.table(columns), "exact", 1, {})


def read_recommender(store: Store) -> Any:
    loaded = Recommender.load(Path(store.root, "recommender"))
    state = {name: model.state_dict() for name, model in loaded.models.items()}
    return plain([state, loaded.artists, loaded.table, loaded.ensemble.as_json(), loaded.chroma])


def read_queries(store: Store) -> Any:
    embedder = QueryEmbedder(None, Store(store.uri("served")))
    whole = store.read(f"served/{TABLE}")
    rows = items().slice(4, 4).append_column("block", pa.array(["0000-000001"] * 4))
    try:
        return embedder._queries(rows)
    finally:
        store.write(f"served/{TABLE}", whole)


def read_groups(store: Store) -> Any:
    part = store.uri(f"{FEATURES}/{PART}")
    stored = read_stored([(part, row) for row in range(ROWS)], "mel")
    return [stored, read_part(part, "chroma")]


def table(name: str, contract: pa.Schema) -> Callable[[Store], Any]:
    return lambda store: store.read_table(name, contract)


# Each kind of object: its file, and how the package reads it.
KINDS: dict[str, tuple[str, Callable[[Store], Any]]] = {
    "feature part": (f"{FEATURES}/{PART}", read_groups),
    "outcomes": (f"{FEATURES}/outcomes/0000.parquet", lambda s: Blocks(s, FEATURES).outcomes()),
    "manifest": (f"{FEATURES}/plans/0000.parquet", lambda s: Blocks(s, FEATURES).manifest()),
    "manifest at work": (
        "features/waiting/plans/0000.parquet",
        lambda s: Blocks(s, "features/waiting").manifest(),
    ),
    "outcomes in a part": (
        f"{FEATURES}/{PART}",
        lambda s: Blocks(s, FEATURES)._read_outcomes(Blocks(s, FEATURES).manifest()),
    ),
    "index": ("extract/k/index.parquet", table("extract/k/index.parquet", INDEX)),
    "embeddings": (
        "artists/k/embeddings.parquet",
        table("artists/k/embeddings.parquet", schema.EMBEDDINGS),
    ),
    "predictions": (
        "submodels/k/predictions-0-of-1.parquet",
        table("submodels/k/predictions-0-of-1.parquet", schema.PREDICTIONS),
    ),
    "examples": (
        "submodels/k/examples.parquet",
        table("submodels/k/examples.parquet", EXAMPLES),
    ),
    "queries": (f"served/{TABLE}", read_queries),
    "spec": ("submodels/k/spec.json", lambda s: s.read_json("submodels/k/spec.json")),
    "results": ("evaluation/k/results.json", lambda s: s.read_json("evaluation/k/results.json")),
    "record": (f"submodels/k/{SUCCESS}", lambda s: s.stage("submodels", "k").success()),
    "weights": ("submodels/k/model.safetensors", lambda s: load_weights(s, "submodels/k")),
    "checkpoint": ("submodels/k/last.pt", lambda s: load_state(s, "submodels/k", "train")),
    "checkpoint of artists": ("artists/k/last.pt", lambda s: load_state(s, "artists/k", "a")),
    "lock": ("submodels/k/locks/0001.json", lambda s: str(vars(owner_of(s, "submodels/k")))),
    "registered description": ("recommender/recommender.json", read_recommender),
    "registered artists": ("recommender/artists.parquet", read_recommender),
    "registered weights": ("recommender/weights/recommendation.safetensors", read_recommender),
}


def plain(value: Any) -> Any:
    """Return a value that ``==`` compares whole."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), value.tolist()
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.tolist()
    if isinstance(value, pa.Table):
        return str(value.schema), value.to_pylist()
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def damaged(whole: bytes, bit: int) -> bytes:
    content = bytearray(whole)
    content[bit // 8] ^= 1 << bit % 8
    return bytes(content)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("flips"))
    write_store(Store(folder))
    return folder


@pytest.fixture
def store(written: str, tmp_path: Path) -> Store:
    return Store(str(shutil.copytree(written, tmp_path / "store")))


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_gives_an_equal_value_or_a_named_object(
    kind: str, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    file, read = KINDS[kind]
    path, whole = Path(store.root, file), store.read(file)
    expected, counts = plain(read(store)), {"equal": 0, "named error": 0, "not used": 0}
    folder = "/".join(Path(file).parts[:2])
    bits = np.random.default_rng(SEED).permutation(8 * len(whole))[:FLIPS]
    for bit in bits.tolist():
        path.write_bytes(damaged(whole, bit))
        capsys.readouterr()
        try:
            value = plain(read(store))
        except DamagedError as error:
            assert path.name in str(error), f"bit {bit}"
            counts["named error"] += 1
            continue
        finally:
            path.write_bytes(whole)
            for marker in store.names(f"{folder}/damaged"):
                store.remove(f"{folder}/damaged/{marker}")
        named = path.name in capsys.readouterr().out or "is damaged" in str(value)
        counts["not used" if named and value != expected else "equal"] += 1
        assert value == expected or named, f"bit {bit}"
    print(f"| {kind} | {len(whole)} bytes | {len(bits)} flips | {counts} |")
