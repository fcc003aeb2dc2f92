"""Index and errors of an extraction: equal to a plain loop, without a Python object per row."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from musicrec.extraction.index import INDEX, build_index, complete_tracks, expand_to_tracks
from musicrec.extraction.manifest import OUTCOME_FIELDS, Blocks
from musicrec.extraction.pipeline import outstanding
from musicrec.extraction.rows import failures
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


def commit(blocks: Blocks, manifest: pa.Table, seed: int, fraction: float) -> None:
    """Commit every outstanding block; this fraction of the rows fails, drawn at random."""
    rng = np.random.default_rng(seed)
    work = outstanding(blocks, manifest)
    for name, tracks in zip(
        work.column("block").to_pylist(), work.column("item").to_pylist(), strict=True
    ):
        failed = rng.random(len(tracks)) < fraction
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
    blocks: Blocks, items: pa.Table, columns: tuple[str, ...]
) -> tuple[set[tuple], dict[str, str]]:
    uris = dict(zip(items.column("item").to_pylist(), items.column("uri").to_pylist(), strict=True))
    places: dict[tuple[str, str], tuple[str, int]] = {}
    details: dict[str, str] = {}
    for row in blocks.outcomes().to_pylist():
        if uris.get(row["item"]) != row["uri"]:
            continue
        if row["reason"] is None:
            places |= {
                (row["item"], column): (
                    blocks.store.uri(f"{blocks.folder}/parts/{row['block']}.parquet"),
                    row["row"],
                )
                for column in row["columns"]
            }
        else:
            details[row["item"]] = row["detail"]
    index = {(*key, *place) for key, place in places.items() if key[1] in columns}
    lacking = {item for item in uris if any((item, column) not in places for column in columns)}
    return index, {item: detail for item, detail in details.items() if item in lacking}


def as_rows(table: pa.Table) -> list[tuple]:
    return [tuple(row.values()) for row in table.to_pylist()]


def test_index_and_errors_equal_a_plain_loop(blocks: Blocks) -> None:
    commit(blocks, blocks.extend(items(60), ["mel"], 7), seed=1, fraction=0.5)
    commit(
        blocks, blocks.extend(items(60, "moved"), ["mel"], 7), seed=2, fraction=0.2
    )  # other files of the same tracks
    commit(blocks, blocks.extend(items(60), ["mel", "cqt"], 7, retry=True), seed=3, fraction=0.3)
    manifest = blocks.extend(items(60), ["mel", "cqt"], 7, retry=True)
    commit(blocks, manifest, seed=4, fraction=0.5)
    subset = items(60).take(np.random.default_rng(5).permutation(60)[:50])
    for columns in (("mel",), ("cqt", "mel"), ("cqt",)):
        index, errors = build_index(blocks, subset, columns, "extract")
        expected, details = naive(blocks, subset, columns)
        rows = as_rows(index)
        assert index.schema == INDEX
        assert len(rows) == len({*rows})
        assert {*rows} == expected
        assert {row[0]: row[3] for row in as_rows(errors)} == details
        assert errors.num_rows == len(details) > 0
        assert errors.schema == ERRORS
        assert complete_tracks(index, columns) == 50 - len(details)
    assert blocks.manifest().num_rows > 180  # errors were assigned again


def test_rows_of_an_image_become_rows_of_its_tracks() -> None:
    index = pa.table(
        {
            "track_id": ["b.png", "a.png"],
            "modality": ["artwork"] * 2,
            "part": ["p", "q"],
            "row": [3, 4],
        },
        schema=INDEX,
    )
    shown = pa.table({"item": ["1", "2", "3", "4"], "uri": ["a.png", "lost.png", "b.png", "a.png"]})
    assert as_rows(expand_to_tracks(index, shown)) == [
        ("1", "artwork", "q", 4),
        ("3", "artwork", "p", 3),
        ("4", "artwork", "q", 4),
    ]
    assert expand_to_tracks(INDEX.empty_table(), shown).num_rows == 0


def test_a_large_manifest_makes_no_object_per_row(blocks: Blocks) -> None:
    tracks, columns = items(ROWS), ("mel", "cqt", "mfcc")
    first = blocks.extend(tracks.slice(0, ROWS // 2), columns[:1], ROWS_PER_BLOCK)
    commit(blocks, first, seed=1, fraction=0.1)
    tracemalloc.start()
    manifest = blocks.extend(tracks, columns, ROWS_PER_BLOCK, retry=True)
    work = outstanding(blocks, manifest)
    build_index(blocks, tracks, columns, "extract")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    failed = failures(blocks.outcomes()).num_rows
    groups = (ROWS // 2 - failed, ROWS // 2 + failed)  # rows that lack two columns, and all three
    assert work.num_rows == sum(-(-rows // ROWS_PER_BLOCK) for rows in groups)
    assert most / ROWS < 100  # bytes; one dictionary per row would take 200, and its values more
