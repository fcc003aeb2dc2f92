"""The driver of an extraction killed at random moments and started again: no row is lost, and none
that was committed is decoded again."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_s3 import FaultyS3
from machines import LOOPBACK, ROOT, Machines, Processes, machines
from small_catalog import small_catalog
from small_run import tiny_yaml

from musicrec import schema
from musicrec.extraction.manifest import Blocks
from musicrec.storage.store import SUCCESS, Store

KILLS = int(os.environ.get("MUSICREC_TEST_KILLS", "2"))
ROWS_PER_BLOCK, BLOCKS_UNTIL_A_KILL = 2, 4
SECONDS_TO_END = 300

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 + 60 * KILLS)]


@pytest.fixture
def nodes(tmp_path: Path, s3_server: Any) -> Iterator[tuple[Machines, FaultyS3, str]]:
    storage, environment = FaultyS3(s3_server.endpoint, share=0.0), dict(os.environ)
    with (
        storage.running() as endpoint,
        machines(tmp_path, environment | {"AWS_ENDPOINT_URL": endpoint}) as cluster,
    ):
        cluster.add_worker(cpus=2)
        yield cluster, storage, s3_server.fresh()


def test_a_driver_killed_at_random_moments_costs_no_row_and_no_second_decoding(
    nodes: tuple[Machines, FaultyS3, str],
) -> None:
    cluster, storage, root = nodes
    catalog, store = small_catalog().copied(2 * (1 + KILLS)), Store(f"{root}/store")
    settings = cluster.folder / "tiny.yaml"
    text = tiny_yaml(store.root, catalog.write(f"{root}/catalog"))
    settings.write_text(text.replace("rows_per_block: 4", f"rows_per_block: {ROWS_PER_BLOCK}"))
    draw = random.Random(0)
    for kill in range(KILLS):
        kill_at_work(
            start(cluster, settings, kill),
            store,
            draw.randrange(BLOCKS_UNTIL_A_KILL),
            draw.random() / 2,
        )
    driver = start(cluster, settings, KILLS)
    driver.finish(SECONDS_TO_END)

    tracks = catalog.track_ids()
    (record,) = (store.read_json(f"extract/{key}/{SUCCESS}") for key in store.folders("extract"))
    assert (record["rows_in"], record["rows_out"], record["rows_in_errors"]) == (
        len(tracks),
        len(tracks),
        0,
    )
    facts = schema.pa.schema(schema.FEATURE_FACTS)
    rows = Counter(
        track
        for name in parts(store)
        for track in store.read_table(name, facts).column("track_id").to_pylist()
    )
    assert rows == Counter(tracks)

    (blocks,) = blocks_of(store)
    committed = {
        path.rpartition("/")[2]: done
        for done, path in reversed(storage.writes)
        if "/features/" in path and "/parts/" in path
    }
    late = [
        (row["item"], read - committed[f"{row['block']}.parquet"])
        for row in blocks.manifest().to_pylist()
        for read, path in storage.reads
        if row["uri"].endswith(path) and read > committed[f"{row['block']}.parquet"]
    ]
    assert late == []


def start(cluster: Machines, settings: Path, number: int) -> Processes:
    """A driver of extraction that joins the cluster."""
    environment = cluster.environment | {
        "RAY_ADDRESS": f"{LOOPBACK}:{cluster.gcs}",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "jobs/extract.py", "--config", str(settings)]
    return Processes(command, cluster.folder / f"driver-{number}.log", environment)


def kill_at_work(driver: Processes, store: Store, blocks: int, pause: float) -> None:
    """Kill a driver some seconds after it has read its catalog and so many more blocks are
    committed."""
    before = len(parts(store))
    driver.wait_until(lambda: "catalog" in driver.said() and len(parts(store)) >= before + blocks)
    with pytest.raises(subprocess.TimeoutExpired):  # it does not end before that
        driver.process.wait(timeout=pause)
    driver.process.kill()


def blocks_of(store: Store) -> list[Blocks]:
    return [Blocks(store, f"features/{key}") for key in store.folders("features")]


def parts(store: Store) -> list[str]:
    return [
        f"{blocks.folder}/parts/{name}.parquet"
        for blocks in blocks_of(store)
        for name in blocks.done()
    ]
