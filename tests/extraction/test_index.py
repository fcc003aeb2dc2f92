"""Index and errors from the outcomes of blocks: the same as a plain walk over the rows says, without a Python object a row."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from musicrec.extraction.index import INDEX, build_index, complete_tracks, of_tracks
from musicrec.extraction.manifest import OUTCOME_FIELDS, Blocks, failures
from musicrec.extraction.pipeline import outstanding
from musicrec.schema import ERRORS
from musicrec.storage.store import Store

ROWS = 20_000
ROWS_PER_BLOCK = 500


@pytest.fixture
def blocks(tmp_path: Path) -> Blocks:
    return Blocks(Store(str(tmp_path)), "features/key")


def items(count: int, folder: str = "audio") -> pa.Table:
    names = [f"track-{number:06d}" for number in range(count)]
    return pa.table({"item": names, "uri": [f"/music/{folder}/{name}.mp3" for name in names]})


def commit(blocks: Blocks, plan: pa.Table, seed: int, share: float) -> None:
    """Every outstanding block, with so large a share of its rows failed."""
    rng = np.random.default_rng(seed)
    work = outstanding(blocks, plan)
    for name, tracks in zip(
        work.column("block").to_pylist(), work.column("item").to_pylist(), strict=True
    ):
        failed = rng.random(len(tracks)) < share
        reasons = ["truncated" if wrong else None for wrong in failed]
        rows = {
            "track_id": tracks,
            "reason": reasons,
            "detail": [reason and f"{name}: {seed}" for reason in reasons],
        }
        blocks.commit(
            name, pa.table(rows, schema=pa.schema([("track_id", pa.string()), *OUTCOME_FIELDS]))
        )


def naive(
    blocks: Blocks, wanted: pa.Table, columns: tuple[str, ...]
) -> tuple[set[tuple], dict[str, str]]:
    uris = dict(
        zip(wanted.column("item").to_pylist(), wanted.column("uri").to_pylist(), strict=True)
    )
    places: dict[tuple[str, str], tuple[str, int]] = {}
    details: dict[str, str] = {}
    for row in blocks.outcomes().to_pylist():
        if uris.get(row["item"]) != row["uri"]:
            continue
        if row["reason"] is None:
            places |= {
                (row["item"], column): (blocks.part_uri(row["block"]), row["row"])
                for column in row["columns"]
            }
        else:
            details[row["item"]] = row["detail"]
    index = {(*key, *place) for key, place in places.items() if key[1] in columns}
    lacking = {item for item in uris if any((item, column) not in places for column in columns)}
    return index, {item: detail for item, detail in details.items() if item in lacking}


def as_rows(table: pa.Table) -> list[tuple]:
    return [tuple(row.values()) for row in table.to_pylist()]


def test_index_and_errors_are_those_of_a_walk_over_the_rows(blocks: Blocks) -> None:
    commit(blocks, blocks.extend(items(60), ["mel"], 7), seed=1, share=0.5)
    commit(
        blocks, blocks.extend(items(60, "moved"), ["mel"], 7), seed=2, share=0.2
    )  # other files of the same tracks
    commit(blocks, blocks.extend(items(60), ["mel", "cqt"], 7, retry=True), seed=3, share=0.3)
    plan = blocks.extend(items(60), ["mel", "cqt"], 7, retry=True)
    commit(blocks, plan, seed=4, share=0.5)
    wanted = items(60).take(np.random.default_rng(5).permutation(60)[:50])
    for columns in (("mel",), ("cqt", "mel"), ("cqt",)):
        index, errors = build_index(blocks, wanted, columns, "extract")
        expected, details = naive(blocks, wanted, columns)
        rows = as_rows(index)
        assert index.schema == INDEX
        assert len(rows) == len({*rows})
        assert {*rows} == expected
        assert {row[0]: row[3] for row in as_rows(errors)} == details
        assert errors.num_rows == len(details) > 0
        assert errors.schema == ERRORS
        assert complete_tracks(index, columns) == 50 - len(details)
    assert blocks.plan().num_rows > 180  # errors were planned again


def test_rows_of_a_picture_become_rows_of_its_tracks() -> None:
    index = pa.table(
        {
            "track_id": ["b.png", "a.png"],
            "modality": ["artwork"] * 2,
            "part": ["p", "q"],
            "row": [3, 4],
        },
        schema=INDEX,
    )
    pictured = pa.table(
        {"item": ["1", "2", "3", "4"], "uri": ["a.png", "lost.png", "b.png", "a.png"]}
    )
    assert as_rows(of_tracks(index, pictured)) == [
        ("1", "artwork", "q", 4),
        ("3", "artwork", "p", 3),
        ("4", "artwork", "q", 4),
    ]
    assert of_tracks(INDEX.empty_table(), pictured).num_rows == 0


def test_a_large_manifest_makes_no_object_a_row(blocks: Blocks) -> None:
    tracks, columns = items(ROWS), ("mel", "cqt", "mfcc")
    first = blocks.extend(tracks.slice(0, ROWS // 2), columns[:1], ROWS_PER_BLOCK)
    commit(blocks, first, seed=1, share=0.1)
    tracemalloc.start()
    plan = blocks.extend(tracks, columns, ROWS_PER_BLOCK, retry=True)
    work = outstanding(blocks, plan)
    build_index(blocks, tracks, columns, "extract")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    failed = failures(blocks.outcomes()).num_rows
    groups = (ROWS // 2 - failed, ROWS // 2 + failed)  # rows that lack two columns, and all three
    assert work.num_rows == sum(-(-rows // ROWS_PER_BLOCK) for rows in groups)
    assert most / ROWS < 100  # bytes; one dictionary a row would be 200 and its values beside it
