"""Relate items by the groups that have them in common, or take published similarities."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec import schema
from musicrec.config.errors import UserError
from musicrec.config.sections import LockSettings, RaySettings, RelationsSettings
from musicrec.relations.files import list_files, shards_of
from musicrec.relations.forms import FORMS, columns_of
from musicrec.relations.groups import COUNTS, ITEMS, NAMES, Grouping, count_items, with_names
from musicrec.relations.groups import STEP as GROUPED
from musicrec.relations.lookup import read_lookup
from musicrec.relations.output import ITEMS_FILE, check_out, related_tables, write_related
from musicrec.relations.pairs import STEP as PAIRED
from musicrec.relations.pairs import Pairing
from musicrec.relations.rank import STEP as RANKED
from musicrec.relations.rank import Ranking, RankingPublished
from musicrec.relations.read import ERRORS, Reading
from musicrec.relations.read import STEP as READ
from musicrec.relations.shards import Record, Steps
from musicrec.storage.lock import acquire
from musicrec.storage.store import (
    Store,
    absolute,
    check_counts,
    fingerprint,
    resolve,
)
from musicrec.telemetry.progress import event
from musicrec.telemetry.redact import redacted

STAGE = "relations"
REVISION = 2
COUNTS_FILE = "counts.parquet"
ERRORS_FILE = "errors.parquet"
# Bytes of text per bucket: about 500,000 plays, 30 MB of a task in each step.
BUCKET_BYTES = 24 << 20
PARQUET_FACTOR = 4  # a play takes less of Parquet than of text
MAXIMUM_BUCKETS = 1024
# Pairs of a range of items, counted once per group: some 400 MB of a task that ranks them.
RANGE_PAIRS = 4_000_000
MAXIMUM_RANGES = 4096
# Settings that decide nothing of the relations.
NOT_IN_KEY = ("maximum_failed_share",)


@dataclass(frozen=True)
class Related:
    """Complete relations: their steps, their record, and whether this call did the work."""

    steps: Steps
    record: Record
    worked: bool

    def tables(self) -> pa.Table:
        """Return all relations as one table with the columns of ``schema.RELATED``."""
        tables = list(related_tables(self.steps, self.record["ranges"]))
        return pa.concat_tables([schema.RELATED.empty_table(), *tables])


def relate(
    plays: str,
    form: str,
    settings: RelationsSettings,
    store: Store,
    ray: RaySettings,
    lock: LockSettings,
    aliases: pa.Table | None = None,
) -> Related:
    """Relate the items of a play log, a set of playlists, or of published similarities.

    Complete relations of the same files and settings are not made again, and those that a killed
    job left are continued.

    Parameters
    ----------
    aliases
        Other names (``track``) of items (``item``); the first of the same name counts, in any
        case.

    Raises
    ------
    ConfigError
        The location has no files of the form, or they lack a column.
    UserError
        A file cannot be read, too many rows are bad, or nothing is related.
    """
    location = absolute(plays)
    mapped = settings.tracks is not None and settings.item != "track"
    kinds = {kind for kind, _ in FORMS[form].items or {}}
    # The aliases name the artists of tracks, where a log has nothing but tracks.
    by_track = mapped or (aliases is not None and kinds == {"track"})
    reading = dataclasses.replace(settings, item="track") if by_track else settings
    names = columns_of(form, reading)
    files = list_files(location, form)
    lookup_files = [_version(settings.tracks)] if mapped else []
    decisive = {k: v for k, v in dataclasses.asdict(settings).items() if k not in NOT_IN_KEY}
    key = fingerprint(
        REVISION,
        form,
        decisive,
        [dataclasses.astuple(file) for file in files],
        lookup_files,
        *([] if aliases is None else [aliases.to_pydict()]),
    )
    steps = Steps(store.stage(STAGE, key), ray)
    if (record := steps.stage.success()) is not None:
        return Related(steps, record, worked=False)
    with acquire(store, steps.stage.folder, "relate", wait=lock.wait) as held:
        if (record := steps.stage.success()) is not None:
            return Related(steps, record, worked=False)
        started = time.perf_counter()
        store.write_json(
            steps.stage.path("config.json"),
            redacted({"plays": plays, "form": form, "relations": dataclasses.asdict(settings)}),
        )
        lookup = read_lookup(settings.tracks, settings.item) if mapped else None
        shards = shards_of(location, form, files, names)
        weight = sum(f.size * (PARQUET_FACTOR if f.path.endswith("parquet") else 1) for f in files)
        buckets = min(max(1, -(-weight // BUCKET_BYTES)), MAXIMUM_BUCKETS)
        read = steps.run(
            READ,
            len(shards),
            Reading(steps, shards, form, names, reading, lookup, _lower(aliases), buckets),
        )
        facts = _check_rows(steps, shards, read, settings)
        parts = [tuple(part) for each in read for part in each["parts"]]
        rank = _rank_published if FORMS[form].similarities else _rank_together
        facts |= rank(steps, len(shards), buckets, parts, settings)
        if not facts["relations"]:
            raise UserError(_nothing(facts, settings))
        record = facts | {
            "buckets": buckets,
            "seconds": round(time.perf_counter() - started, 2),
            "finished": time.time(),
        }
        held.check()
        steps.stage.finish(record)
    event("relate", "done", **{name: v for name, v in record.items() if name != "finished"})
    return Related(steps, record, worked=True)


def _lower(aliases: pa.Table | None) -> pa.Table | None:
    """Return aliases in lower case, each once."""
    if aliases is None:
        return None
    names = pc.utf8_lower(pc.utf8_trim_whitespace(aliases["track"]))
    lower = pa.table({"track": names, "item": aliases["item"]})
    first = lower.group_by("track", use_threads=False).aggregate([("item", "first")])
    return first.rename_columns({"track": "track", "item_first": "item"})


def write_out(done: Related, out: str, item: str) -> bool:
    """Write relations to ``out`` unless an earlier call did; return whether they were written.

    Raises
    ------
    ConfigError
        The name ends neither in .csv nor in .parquet.
    """
    check_out(out)
    store = done.steps.stage.store
    name = done.steps.stage.path(f"outputs/{fingerprint(absolute(out))}.json")
    if store.exists(name) and store.read_json(name)["file"] == _version(out):
        return False
    rows = write_related(out, item, related_tables(done.steps, done.record["ranges"]))
    store.write_json(name, {"out": redacted(absolute(out)), "file": _version(out)})
    event("relate", "written", rows=rows, file=out)
    return True


def _version(location: str) -> list[Any]:
    filesystem, path = resolve(location)
    info = filesystem.get_file_info(path)
    return [info.size, info.mtime.timestamp() if info.mtime else None]


def _check_rows(
    steps: Steps, shards: list[Any], read: list[Record], settings: RelationsSettings
) -> dict[str, Any]:
    """Write the errors table, and check that rows in are rows used plus rows in errors.

    Raises
    ------
    UserError
        More rows are bad than allowed, or there is no row.
    """
    counts = Counter[str]()
    for each in read:
        counts.update(each["errors"])
    rows, used = (sum(each[name] for each in read) for name in ("rows", "used"))
    failed = counts.total()
    check_counts("relate", rows, used, failed)
    tables, line = [schema.ERRORS.empty_table()], 0
    for number, (shard, record) in enumerate(zip(shards, read, strict=True)):
        line = shard.first - 1 if shard.first is not None else line
        errors = steps.read_table(READ, number, ERRORS, "-errors.parquet")
        file = shard.uri.rpartition("/")[2]
        ids = [f"{file} line {line + each}" for each in errors["line"].to_pylist()]
        stages = ["relate"] * errors.num_rows
        columns = [ids, stages, errors["reason"], errors["detail"]]
        tables.append(pa.table(columns, schema=schema.ERRORS))
        line += record["lines"]
    path = steps.stage.path(ERRORS_FILE)
    steps.stage.store.write_table(path, pa.concat_tables(tables), schema.ERRORS)
    if not rows:
        raise UserError("the plays have no row below their header: nothing can be related")
    if failed > settings.maximum_failed_share * rows:
        frequent = ", ".join(f"{reason} {count:,}" for reason, count in counts.most_common(3))
        raise UserError(
            f"relate: {failed:,} of {rows:,} rows are bad ({frequent}), more than "
            f"relations.maximum_failed_share = {settings.maximum_failed_share:g} allows. "
            f"See {steps.stage.store.uri(path)}, or python jobs/errors.py --store "
            f"{steps.stage.store.root}; repair the rows, or raise the limit"
        )
    facts = {"rows_in": rows, "rows_out": used, "rows_in_errors": failed}
    return facts | {"reasons": dict(counts)}


def _rank_together(
    steps: Steps, shards: int, buckets: int, parts: list[Any], settings: RelationsSettings
) -> dict[str, int]:
    store, path = steps.stage.store, steps.stage.path(COUNTS_FILE)
    grouped = steps.run(GROUPED, buckets, Grouping(steps, parts, settings))
    items = count_items(steps, buckets, settings.minimum_support)
    store.write_table(path, items, COUNTS)
    hashes = items["item"].to_numpy()
    named = items.append_column("name", with_names(steps, shards, hashes, READ))
    store.write_table(steps.stage.path(ITEMS_FILE), named, ITEMS)
    directed = 2 * sum(each["pairs"] for each in grouped)
    ranges = min(max(1, -(-directed // RANGE_PAIRS)), MAXIMUM_RANGES)
    paired = steps.run(PAIRED, buckets, Pairing(steps, path, ranges))
    pairs = [tuple(part) for each in paired for part in each["parts"]]
    ranked = steps.run(RANKED, ranges, Ranking(steps, path, pairs, settings))
    return {
        "groups": sum(each["groups"] for each in grouped),
        "items_cut": sum(each["cut"] for each in grouped),
        "pairs": sum(each["pairs"] for each in paired),
        "items": items.num_rows,
        "ranges": ranges,
        "relations": sum(each["relations"] for each in ranked),
    }


def _rank_published(
    steps: Steps, shards: int, buckets: int, parts: list[Any], settings: RelationsSettings
) -> dict[str, int]:
    ranked = steps.run(RANKED, buckets, RankingPublished(steps, parts, settings))
    store, hashes = steps.stage.store, np.zeros(0, np.uint64)
    for shard in range(shards):
        names = steps.read_table(READ, shard, NAMES, "-names.parquet")
        hashes = np.union1d(hashes, names["item"].to_numpy())
    columns = [hashes, with_names(steps, shards, hashes, READ), np.zeros(len(hashes), np.int64)]
    store.write_table(steps.stage.path(ITEMS_FILE), pa.table(columns, schema=ITEMS), ITEMS)
    return {
        "items": sum(each["items"] for each in ranked),
        "ranges": buckets,
        "relations": sum(each["relations"] for each in ranked),
    }


def _nothing(facts: dict[str, Any], settings: RelationsSettings) -> str:
    return (
        f"no two of {facts['items']:,} items occur together in {settings.minimum_support} "
        "groups: give more plays, or lower relations.minimum_support"
    )
