"""Co-occurrence against a count by hand, and against a straightforward one in Python."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musicrec.relations import pairs
from musicrec.relations.rank import RANKED
from musicrec.relations.rank import STEP as RANKED_STEP
from musicrec.relations.relate import Related
from musicrec.schema import ERRORS
from musicrec.storage.record import SUCCESS, DamagedError

# Users and what they play. Together: XY 3, XZ 2, YZ 2, XW 1. Groups: X 4, Y 3, Z 2, W 1.
LOG = {"a": "XYZ", "b": "XY", "c": "XYZ", "d": "XW"}


def written(folder: Path, log: dict[str, str], name: str = "plays.csv") -> Path:
    file = folder / name
    rows = [f"{user},{item}" for user, items in log.items() for item in items]
    file.write_text("\n".join(["user,item", *rows]) + "\n")
    return file


def scores(done: Related) -> dict[tuple[int, int], tuple[int, float, int]]:
    """Rank, score and support by the places of both items in the table of items."""
    rows: list[dict[str, Any]] = []
    for bucket in range(done.record["ranges"]):
        name = done.steps.name(RANKED_STEP, bucket)
        rows += done.steps.stage.store.read_table(name, RANKED).to_pylist()
    return {
        (row["item"], row["related"]): (row["rank"], row["score"], row["together"]) for row in rows
    }


def test_counts_by_hand(tmp_path: Path, related: Callable[..., Related]) -> None:
    done = related(written(tmp_path, LOG), minimum_support=1, popularity_damping=0.5)
    rows = {
        (row["artist_id"], row["related_artist_id"]): row["rank"]
        for row in done.tables().to_pylist()
    }
    # Of X: Y 3 / sqrt(4 x 3) = .87, Z 2 / sqrt(4 x 2) = .71, W 1 / sqrt(4 x 1) = .5
    assert rows == {
        ("X", "Y"): 1, ("X", "Z"): 2, ("X", "W"): 3,
        ("Y", "X"): 1, ("Y", "Z"): 2,
        ("Z", "Y"): 1, ("Z", "X"): 2,
        ("W", "X"): 1,
    }  # fmt: skip
    values = sorted(scores(done).values())
    assert [together for _, _, together in values].count(3) == 2
    assert max(score for _, score, _ in values) == pytest.approx(3 / np.sqrt(12))


def test_pairs_below_the_support_are_not_related(
    tmp_path: Path, related: Callable[..., Related]
) -> None:
    done = related(written(tmp_path, LOG), minimum_support=3)
    assert {(row["artist_id"], row["related_artist_id"]) for row in done.tables().to_pylist()} == {
        ("X", "Y"),
        ("Y", "X"),
    }


def test_damping_decides_between_support_and_rarity(
    tmp_path: Path, related: Callable[..., Related]
) -> None:
    # Of A: P 3 common of 6 groups, R 2 common of 2 groups.
    log = {"a": "APR", "b": "APR", "c": "AP", "d": "PQ", "e": "PQ", "f": "PQ"}
    file = written(tmp_path, log)

    def first(damping: float) -> str:
        rows = related(file, popularity_damping=damping).tables().to_pylist()
        return next(r["related_artist_id"] for r in rows if (r["artist_id"], r["rank"]) == ("A", 1))

    assert first(0.0) == "P"  # 3 above 2
    assert first(1.0) == "R"  # 2/2 above 3/6


def test_counts_agree_with_a_straightforward_one(
    tmp_path: Path, related: Callable[..., Related], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small limits, so that groups, runs and buckets are divided.
    monkeypatch.setattr(pairs, "CHUNK_PAIRS", 50)
    monkeypatch.setattr(pairs, "RUN_PAIRS", 120)
    monkeypatch.setattr("musicrec.relations.relate.BUCKET_BYTES", 2000)
    monkeypatch.setattr("musicrec.relations.relate.RANGE_PAIRS", 300)
    generator = np.random.default_rng(0)
    log: dict[str, set[str]] = defaultdict(set)
    lines = ["user,item"]
    for user, item in zip(
        generator.integers(60, size=900), generator.zipf(1.5, 900) % 40, strict=True
    ):
        log[f"u{user}"].add(f"i{item}")
        lines.append(f"u{user},i{item}")
    (tmp_path / "plays.csv").write_text("\n".join(lines))
    done = related(tmp_path / "plays.csv", minimum_support=2, neighbours=1000)
    together = Counter(
        pair for items in log.values() for pair in itertools.permutations(sorted(items), 2)
    )
    groups = Counter(item for items in log.values() for item in items)
    expected = {pair: count for pair, count in together.items() if count >= 2}
    rows = done.tables().to_pylist()
    assert {(row["artist_id"], row["related_artist_id"]) for row in rows} == set(expected)
    for item in groups:
        ranked = sorted((r for r in rows if r["artist_id"] == item), key=lambda r: r["rank"])
        values = [
            expected[item, r["related_artist_id"]] / np.sqrt(groups[r["related_artist_id"]])
            for r in ranked
        ]
        assert max(np.diff(values), default=0) < 1e-9  # descending, but for rounding
        assert [r["rank"] for r in ranked] == list(range(1, len(ranked) + 1))
    # Items of one group are left out before pairs are made.
    made = [count for pair, count in together.items() if min(groups[i] for i in pair) >= 2]
    assert done.record["pairs"] == sum(made) // 2


def test_top_twenty(tmp_path: Path, related: Callable[..., Related]) -> None:
    log = {user: "ABCDEFGHIJKLMNOPQRSTUVWXYZ" for user in "ab"}
    rows = related(written(tmp_path, log)).tables().to_pylist()
    assert Counter(row["artist_id"] for row in rows) == dict.fromkeys(log["a"], 20)


def test_sessions_end_after_a_pause(tmp_path: Path, related: Callable[..., Related]) -> None:
    minute = 60
    plays = [
        *(("a", item, 0 + 10 * minute * place) for place, item in enumerate("XY")),
        *(("a", item, 100 * minute + place) for place, item in enumerate("ZW")),
        *(("b", item, 5 * minute * place) for place, item in enumerate("XY")),
        *(("b", item, 1000 * minute + place) for place, item in enumerate("ZW")),
    ]
    file = tmp_path / "plays.csv"
    rows = [f"{user},{item},{time}" for user, item, time in plays]
    file.write_text("\n".join(["user,item,time", *rows]))
    found = related(file, group="session").tables().to_pylist()
    assert {(row["artist_id"], row["related_artist_id"]) for row in found} == {
        ("X", "Y"), ("Y", "X"), ("Z", "W"), ("W", "Z"),
    }  # fmt: skip
    by_user = related(file).tables().to_pylist()
    assert len(by_user) == 12  # every pair of four items


def test_the_most_played_items_of_a_group_are_kept(
    tmp_path: Path, related: Callable[..., Related]
) -> None:
    file = tmp_path / "plays.csv"
    rows = [
        f"{user},{item},{count}" for user in "ab" for item, count in (("X", 9), ("Y", 5), ("Z", 1))
    ]
    file.write_text("\n".join(["user,item,plays", *rows]))
    done = related(file, count_column="plays", maximum_items=2)
    assert {row["artist_id"] for row in done.tables().to_pylist()} == {"X", "Y"}
    assert done.record["items_cut"] == 2
    few = related(file, count_column="plays", minimum_plays=5)
    assert {row["artist_id"] for row in few.tables().to_pylist()} == {"X", "Y"}


def test_rows_in_are_rows_used_plus_errors_with_their_lines(
    tmp_path: Path, related: Callable[..., Related], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("musicrec.relations.files.SHARD_BYTES", 64)  # several shards
    lines = ["user,item,n"] + [f"u{n % 10},i{n % 4},1" for n in range(60)]
    lines[11], lines[31], lines[41], lines[51] = "u1,,1", "u1,i1,-2", "u1", 'u1,"i1,1'
    (tmp_path / "plays.csv").write_text("\n".join(lines) + "\n")
    done = related(tmp_path / "plays.csv", count_column="n", maximum_failed_share=0.1)
    assert (done.record["rows_in"], done.record["rows_in_errors"]) == (60, 4)
    errors = done.steps.stage.store.read_table(done.steps.stage.path("errors.parquet"), ERRORS)
    assert {(e["track_id"], e["reason"]) for e in errors.to_pylist()} == {
        ("plays.csv line 12", "missing_item"),
        ("plays.csv line 32", "not_a_count"),
        ("plays.csv line 42", "wrong_cells"),
        ("plays.csv line 52", "unclosed_quote"),
    }


@pytest.mark.parametrize("size", [7, 16, 33, 200])
def test_each_line_belongs_to_one_shard(
    tmp_path: Path, related: Callable[..., Related], monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr("musicrec.relations.files.SHARD_BYTES", size)
    file = written(tmp_path, {f"user{n}": "AB" for n in range(40)})
    file.write_bytes(file.read_bytes().removesuffix(b"\n"))  # no line end at the end
    done = related(file)
    assert (done.record["rows_in"], done.record["groups"]) == (80, 40)


def test_a_killed_job_continues_and_a_complete_one_does_nothing(
    tmp_path: Path, related: Callable[..., Related], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("musicrec.relations.files.SHARD_BYTES", 200)
    file = written(tmp_path, {f"user{n}": "AB" for n in range(100)})
    from musicrec.relations.read import Reading

    work, read = Reading.__call__, []

    def stops(self: Reading, number: int) -> dict[str, Any]:
        if len(read) == 3:
            raise KeyboardInterrupt
        read.append(number)
        return work(self, number)

    monkeypatch.setattr(Reading, "__call__", stops)
    with pytest.raises(KeyboardInterrupt):
        related(file)
    again = list(read)

    def counted(self: Reading, number: int) -> dict[str, Any]:
        read.append(number)
        return work(self, number)

    monkeypatch.setattr(Reading, "__call__", counted)
    done = related(file)
    assert done.worked
    assert sorted(read) == list(range(len(read)))  # each shard once, over both runs
    assert read[:3] == again
    assert done.record["rows_in"] == 200
    assert not related(file).worked
    assert len(read) == len(set(read))


def test_damaged_records_and_parts_of_shards_are_made_again(
    tmp_path: Path, related: Callable[..., Related]
) -> None:
    file = written(tmp_path, LOG)
    first = related(file)
    steps, store = first.steps, first.steps.stage.store
    store.write(steps.name("groups", 0, ".json"), b"{")
    store.remove(steps.stage.path(SUCCESS))
    again = related(file)
    assert again.worked
    assert again.steps.stage == steps.stage
    assert again.tables() == first.tables()

    part = steps.name("read", 0, "-0000.parquet")
    content = bytearray(store.read(part))
    content[8] ^= 1  # in the first column
    store.write(part, bytes(content))
    store.remove(steps.name("groups", 0, ".json"))
    store.remove(steps.stage.path(SUCCESS))
    with pytest.raises(DamagedError, match=r"read/000000-0000\.parquet is damaged"):
        related(file)
    assert related(file).tables() == first.tables()


def test_changed_plays_are_related_again(tmp_path: Path, related: Callable[..., Related]) -> None:
    done = related(written(tmp_path, LOG))
    assert json.loads(done.steps.stage.store.read(done.steps.stage.path("config.json")))["plays"]
    assert related(written(tmp_path, LOG | {"z": "XYZ"})).worked
