"""The lock of a stage: one owner at a time, a dead owner replaced, late writes without effect."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import small_training

from musicrec.catalog.tables import Catalog
from musicrec.config.jobs import Config
from musicrec.config.sections import LockSettings
from musicrec.extraction.manifest import OUTCOME_FIELDS, Blocks
from musicrec.pipeline.base import Outcome, Run, run_stage
from musicrec.pipeline.launch import launch_training_runs
from musicrec.runtime.job import run_job
from musicrec.storage import lock
from musicrec.storage.lock import LockLost, Owner, StageLocked, Times, acquire, owner_of
from musicrec.storage.store import Stage, Store

FOLDER = "extract/key"
QUICK = Times(beat=0.05, stale=1.0, look=0.02)
SECONDS_TO_START = 60
SECONDS_TO_SEE = 30


@pytest.fixture
def store(store_root: str) -> Store:
    return Store(store_root)


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def elsewhere(store: Store, folder: str = FOLDER, **facts: Any) -> Owner:
    """Acquire the lock for a run on another machine that then gives no sign of life."""
    with acquire(store, folder, "extract", times=QUICK) as held:
        owner = dataclasses.replace(
            held.owner,
            token="theirs",
            run="retrain-elsewhere",
            host="node-7",
            machine="another boot",
            **facts,
        )
    store.write(f"{folder}/locks/{held.number:04d}.json", owner.as_bytes())
    return owner


def in_another_thread(work: Any) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_one_run_at_a_time_holds_the_lock(store: Store) -> None:
    inside, most, entered = 0, 0, []
    counting = threading.Lock()

    def work(number: int) -> None:
        nonlocal inside, most
        with acquire(Store(store.root), FOLDER, "extract", times=QUICK) as held:
            with counting:
                inside += 1
                most = max(most, inside)
            entered.append((number, held.number))
            with counting:
                inside -= 1

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert most == 1
    assert sorted(number for number, _ in entered) == list(range(6))
    # Each run had a lock of its own, in the order in which they entered.
    assert [number for _, number in entered] == list(range(1, 7))
    assert owner_of(store, FOLDER).released


def test_a_run_that_does_not_wait_names_the_owner(local: Store) -> None:
    elsewhere(local, since=0.0)
    with (
        pytest.raises(
            StageLocked,
            match=r"run retrain-elsewhere on node-7 \(process \d+\), "
            r"since 1970-01-01 00:00:00 UTC works on .*key",
        ),
        acquire(local, FOLDER, "extract", wait=False),
    ):
        pass


def test_a_silent_owner_is_replaced_after_the_stale_time(store: Store) -> None:
    elsewhere(store, seen=4e9)  # its clock is half a century ahead, and does not matter
    with acquire(store, FOLDER, "extract", times=QUICK) as held:
        assert held.number == 2
        held.check()


def test_an_owner_with_heartbeats_is_not_replaced(local: Store) -> None:
    owner = elsewhere(local)
    ended, entered = threading.Event(), threading.Event()

    def live() -> None:
        beats = 0
        while not ended.wait(QUICK.stale / 10):
            beats += 1
            local.write(
                f"{FOLDER}/locks/0001.json",
                dataclasses.replace(owner, seen=float(beats)).as_bytes(),
            )

    def wait() -> None:
        with acquire(Store(local.root), FOLDER, "extract", times=QUICK):
            entered.set()

    alive, waiting = in_another_thread(live), in_another_thread(wait)
    assert not entered.wait(2.5 * QUICK.stale)
    ended.set()
    alive.join()
    assert entered.wait(SECONDS_TO_SEE)
    waiting.join()


def test_the_owner_writes_heartbeats_by_itself(local: Store) -> None:
    with acquire(local, FOLDER, "extract", times=QUICK):
        first = owner_of(local, FOLDER)
        seen = threading.Event()
        for _ in range(1000):
            if owner_of(local, FOLDER).seen > first.seen:
                break
            seen.wait(0.02)
        latest = owner_of(local, FOLDER)
    assert latest.seen > first.seen
    assert latest.is_at_work()
    assert not owner_of(local, FOLDER).is_at_work()


def test_a_thread_that_holds_the_lock_reenters_it(local: Store) -> None:
    with (
        acquire(local, FOLDER, "train") as outer,
        acquire(local, FOLDER, "train", wait=False) as inner,
    ):
        assert inner is outer
    assert local.names(f"{FOLDER}/locks") == ["0001.json"]
    assert owner_of(local, FOLDER).released


def acquire_and_signal(root: str, taken: Any) -> None:
    with acquire(Store(root), FOLDER, "extract"):
        taken.set()
        signal.pause()


def test_a_killed_owner_on_this_machine_is_replaced_at_once(local: Store) -> None:
    context = multiprocessing.get_context("spawn")
    taken = context.Event()
    process = context.Process(target=acquire_and_signal, args=(local.root, taken))
    process.start()
    try:
        assert taken.wait(SECONDS_TO_START)
        with (
            pytest.raises(StageLocked, match=f"process {process.pid}"),
            acquire(local, FOLDER, "extract", wait=False),
        ):
            pass
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(
            os.P_PID, process.pid, os.WEXITED | os.WNOWAIT
        )  # dead, and still in the process table
        with acquire(local, FOLDER, "extract", wait=False) as held:
            assert held.number == 2
    finally:
        process.kill()
        process.join()


def hold_in_a_job(root: str, taken: Any) -> None:
    def work(config: Config) -> None:
        with acquire(Store(root), FOLDER, "extract"):
            taken.set()
            threading.Event().wait()

    run_job("A job.", work, [])


def test_a_terminated_job_releases_its_lock(local: Store) -> None:
    context = multiprocessing.get_context("spawn")
    taken = context.Event()
    job = context.Process(target=hold_in_a_job, args=(local.root, taken))
    job.start()
    assert taken.wait(SECONDS_TO_START)
    job.terminate()
    job.join(SECONDS_TO_SEE)
    assert job.exitcode == 128 + signal.SIGTERM
    assert owner_of(local, FOLDER).released


def test_a_process_that_reuses_the_id_is_not_the_owner(local: Store) -> None:
    with acquire(local, FOLDER, "extract") as held:
        assert not held.owner.is_gone
        assert dataclasses.replace(held.owner, process_started="1").is_gone
        assert not dataclasses.replace(
            held.owner, process_started="1", machine="another boot"
        ).is_gone


def test_a_replaced_owner_learns_of_it_and_writes_in_vain(local: Store) -> None:
    with acquire(local, FOLDER, "extract") as late:
        elsewhere_number = f"{FOLDER}/locks/0002.json"
        other = dataclasses.replace(
            late.owner, token="other", run="retrain-2", host="node-7", machine="another boot"
        )
        assert local.create(elsewhere_number, other.as_bytes())
        late.write()
        with pytest.raises(LockLost, match="retrain-2 on node-7"):
            late.check()
        assert owner_of(local, FOLDER) == other
    assert owner_of(local, FOLDER) == other  # releasing its own lock does not release the other's


def test_a_storage_failure_does_not_lose_the_lock(
    local: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, failed = Store.write, threading.Event()

    def fail_once(self: Store, name: str, content: bytes) -> None:
        if not failed.is_set():
            failed.set()
            raise OSError("503 slow down")
        write(self, name, content)

    with acquire(local, FOLDER, "extract", times=QUICK) as held:
        first = owner_of(local, FOLDER)
        monkeypatch.setattr(Store, "write", fail_once)
        assert failed.wait(SECONDS_TO_SEE)
        waiting = threading.Event()
        for _ in range(1000):
            if owner_of(local, FOLDER).seen > first.seen:
                break
            waiting.wait(0.02)
        assert owner_of(local, FOLDER).seen > first.seen
        held.check()


def test_a_lock_is_readable_by_people(local: Store) -> None:
    with acquire(local, FOLDER, "extract"):
        facts = json.loads(local.read(f"{FOLDER}/locks/0001.json"))
    assert facts["pid"] == os.getpid()
    assert {"run", "host", "since"} <= set(facts)


def run_of(store: Store, wait: bool = True) -> Run:
    catalog = Catalog.__new__(Catalog)  # these stages read no catalog
    return Run(Config(store=store.root, lock=LockSettings(wait=wait)), store, catalog, "key")


def test_a_waiting_run_reuses_the_completed_stage(local: Store) -> None:
    run, stage = run_of(local), Stage(local, "extract", "key")
    begun, may_end = threading.Event(), threading.Event()
    works: list[str] = []
    outcomes: dict[str, Outcome] = {}

    def slow(stage: Stage) -> dict[str, Any]:
        works.append("first")
        begun.set()
        assert may_end.wait(SECONDS_TO_SEE)
        return {"rows_in": 1}

    def first() -> None:
        outcomes["first"] = run_stage(run, stage, slow)

    def second() -> None:
        outcomes["second"] = run_stage(
            run, stage, lambda stage: works.append("second") or {"rows_in": 2}
        )

    one = in_another_thread(first)
    assert begun.wait(SECONDS_TO_SEE)
    with pytest.raises(StageLocked, match=str(os.getpid())):
        run_stage(run_of(local, wait=False), stage, lambda stage: {})
    two = in_another_thread(second)
    may_end.set()
    one.join(SECONDS_TO_SEE)
    two.join(SECONDS_TO_SEE)
    assert works == ["first"]
    assert (outcomes["first"].worked, outcomes["second"].worked) == (True, False)
    assert outcomes["second"].record == outcomes["first"].record == stage.success()


def test_a_run_that_lost_its_lock_commits_nothing(local: Store) -> None:
    run, stage = run_of(local), Stage(local, "extract", "key")

    def work(stage: Stage) -> dict[str, Any]:
        owner = owner_of(local, stage.folder)
        local.create(
            f"{stage.folder}/locks/0002.json",
            dataclasses.replace(owner, token="other", machine="another boot").as_bytes(),
        )
        return {"rows_in": 1}

    with pytest.raises(LockLost):
        run_stage(run, stage, work)
    assert stage.success() is None


def test_a_failed_stage_releases_its_lock(local: Store) -> None:
    run, stage = run_of(local, wait=False), Stage(local, "extract", "key")

    def fail(stage: Stage) -> dict[str, Any]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_stage(run, stage, fail)
    assert run_stage(run, stage, lambda stage: {"rows_in": 1}).worked


def test_a_complete_stage_reruns_where_its_record_requires_it(local: Store) -> None:
    run, stage = run_of(local), Stage(local, "extract", "key")
    records = iter([{"rows_in_errors": 2}, {"rows_in_errors": 0}])

    def retry() -> Outcome:
        return run_stage(
            run,
            stage,
            lambda stage: next(records),
            should_rerun=lambda record: record["rows_in_errors"] > 0,
        )

    assert [retry().worked for _ in range(3)] == [True, True, False]
    assert stage.success()["versions"]


def test_a_training_locked_by_another_run_is_not_started(local: Store) -> None:
    task = small_training.prepare(local.root)
    owner = elsewhere(local, task.folder)
    before = local.names(task.folder)
    with pytest.raises(StageLocked, match=f"train mfcc.large_rnn: run {owner.run} on node-7"):
        launch_training_runs(run_of(local, wait=False), [task])
    assert local.names(task.folder) == before


def test_a_training_completed_by_another_run_is_reused(local: Store) -> None:
    task = small_training.prepare(local.root)
    local.stage(*task.folder.split("/")).finish({"model": task.name})
    outcome = launch_training_runs(run_of(local), [task])[task.folder]
    assert (outcome.worked, outcome.record) == (False, {"model": task.name})


def test_late_commits_of_a_dead_run_duplicate_no_row(store: Store) -> None:
    blocks = Blocks(store, "features/key")
    names = [f"track-{number}" for number in range(6)]
    items = pa.table({"item": names, "uri": [f"audio/{name}.mp3" for name in names]})

    def outcome(rows: pa.Table) -> pa.Table:
        fields = pa.schema([("track_id", pa.string()), *OUTCOME_FIELDS])
        return pa.Table.from_pylist(
            [{"track_id": item} for item in rows.column("item").to_pylist()], schema=fields
        )

    def parts(manifest: pa.Table) -> dict[str, pa.Table]:
        return {
            block: manifest.filter(pa.compute.equal(manifest.column("block"), block))
            for block in manifest.column("block").unique().to_pylist()
        }

    dead = parts(blocks.extend(items, ["mel"], rows_per_block=2))
    elsewhere(store)
    first, second, third = dead
    blocks.commit(first, outcome(dead[first]))
    with acquire(store, FOLDER, "extract", times=QUICK):  # after the stale time
        resumed = parts(
            blocks.extend(items, ["mel"], rows_per_block=4)
        )  # other settings, and still the blocks of the manifest
        assert resumed == dead
        blocks.commit(second, outcome(dead[second]))  # a task of the dead run ends now
        for block in (second, third):
            blocks.commit(block, outcome(resumed[block]))
        blocks.commit(third, outcome(dead[third]))  # and another when all is done
    assert blocks.outcomes().column("item").to_pylist() == names
    assert blocks.extend(items, ["mel"], rows_per_block=2).num_rows == len(names)
    assert lock.owner_of(store, FOLDER).released
