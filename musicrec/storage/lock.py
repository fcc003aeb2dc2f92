"""One run at a time on a stage's folder: a lock in the store, which the death of its owner does not keep.

``FOLDER/locks/0001.json`` is the first owner's, and whoever comes after an owner that is done or dead creates the next number: the highest
number is the lock. Of several runs exactly one creates a number (``Store.create``), so a take-over needs no other conditional write than
the one that every commit stands on, on a folder and on S3 alike. An owner rewrites its own number's object every ``Times.beat`` seconds;
what an owner that was wrongly taken for dead writes lands in an object that nobody asks any more, and ``Lock.check`` tells it so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from musicrec.storage.store import Store
from musicrec.telemetry.progress import event, run_name

FOLDER = "locks"
# Every object of a lock has the same length: pyarrow asks S3 for it before it reads, and fills up what became shorter meanwhile.
OBJECT_BYTES = 1024


@dataclass(frozen=True)
class Times:
    """Seconds: between an owner's signs of life, without one until it is taken for dead, and between two looks of a run that waits.

    A sign of life through a slow or failing object storage may take a minute with its retries.
    """

    beat: float = 10.0
    stale: float = 90.0
    look: float = 2.0


TIMES = Times()


class StageLocked(RuntimeError):
    """Another run works on the same output: which one, where, and since when."""


class LockLost(RuntimeError):
    """Another run has taken this one for dead and works on its output."""


@dataclass(frozen=True)
class Owner:
    """Who holds, or held, a lock.

    Attributes
    ----------
    token
        Different for every lock ever taken, so that no two objects are alike.
    machine
        Tells process tables apart; a host's name does not, for containers share and repeat names.
    process_started
        In clock ticks after the system's start: another process of the same number has another.
    since, seen
        Unix times of the lock and of the last sign of life, by the owner's clock.
    """

    token: str
    run: str
    host: str
    machine: str
    pid: int
    process_started: str
    since: float
    seen: float
    released: bool = False

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.since))
        return f"run {self.run} on {self.host} (process {self.pid}), since {since}"

    @property
    def is_gone(self) -> bool:
        """Whether this machine knows that the owner's process has ended."""
        return self.machine == _machine() and _process_started(self.pid) != self.process_started

    def is_at_work(self, stale: float = TIMES.stale) -> bool:
        """Whether the owner seems to be at work; of one on another machine as far as its clock agrees with this one's."""
        return not self.released and not self.is_gone and time.time() - self.seen < stale

    def as_bytes(self) -> bytes:
        return json.dumps(dataclasses.asdict(self), indent=1).encode().ljust(OBJECT_BYTES)


def owner_of(store: Store, folder: str) -> Owner | None:
    """Whoever had the lock of a folder last; None if nobody ever had."""
    return _latest(store, folder)[1]


def _latest(store: Store, folder: str) -> tuple[int, Owner | None]:
    names = store.names(f"{folder}/{FOLDER}")
    if not names:
        return 0, None
    name = max(names, key=_number)
    return _number(name), Owner(**store.read_json(f"{folder}/{FOLDER}/{name}"))


def _number(name: str) -> int:
    return int(name.removesuffix(".json"))


@dataclass
class Lock:
    """A lock that this process holds."""

    store: Store
    folder: str
    number: int
    owner: Owner
    times: Times
    label: str
    _ended: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """To be called before what was done is committed.

        Raises
        ------
        LockLost
            Another run has taken the lock over.
        """
        number, owner = _latest(self.store, self.folder)
        if number != self.number:
            raise LockLost(
                f"{self.label}: {owner} took {self.store.uri(self.folder)} over, because no sign of this run was seen for "
                f"{self.times.stale:g} s. Nothing of this run is committed there; that run's output is the valid one"
            )

    def write(self, released: bool = False) -> None:
        """Give a sign of life, or the lock back."""
        owner = dataclasses.replace(self.owner, seen=time.time(), released=released)
        self.store.write(_name(self.folder, self.number), owner.as_bytes())

    def beat(self) -> None:
        """Give signs of life until ``stop``; a storage that fails for a while is tried again."""
        while not self._ended.wait(self.times.beat):
            with self._failures_said("a sign of life could not be written"):
                self.write()

    def stop(self) -> None:
        self._ended.set()

    def release(self) -> None:
        """Give the lock back; where the storage fails, the next run waits until it is stale."""
        with self._failures_said(
            f"the lock could not be given back, another run can take it after {self.times.stale:g} s"
        ):
            self.write(released=True)

    @contextlib.contextmanager
    def _failures_said(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            event(self.label, what, folder=self.folder, error=str(error))


_held: dict[tuple[str, str, int], Lock] = {}


@contextlib.contextmanager
def acquire(
    store: Store, folder: str, label: str, wait: bool = True, times: Times = TIMES
) -> Iterator[Lock]:
    """Hold the lock of a folder while a ``with`` block runs; a thread that holds it already goes on with the same lock.

    A lock whose owner's process has ended on this machine is taken over at once; one whose object has not changed for ``times.stale``
    seconds, by the clock of whoever waits, then.

    Raises
    ------
    StageLocked
        Another run holds it, and ``wait`` is false.
    """
    key = (store.root, folder, threading.get_ident())
    if key in _held:
        yield _held[key]
        return
    lock = _held[key] = _acquire(store, folder, label, wait, times)
    thread = threading.Thread(target=lock.beat, name=f"lock of {folder}", daemon=True)
    thread.start()
    try:
        yield lock
    finally:
        del _held[key]
        lock.stop()
        thread.join()
        lock.release()


def _acquire(store: Store, folder: str, label: str, wait: bool, times: Times) -> Lock:
    seen: Owner | None = None
    changed = time.monotonic()
    said: str | None = None
    pause = threading.Event()
    while True:
        number, owner = _latest(store, folder)
        if owner != seen:
            seen, changed = owner, time.monotonic()
        if (
            owner is None
            or owner.released
            or owner.is_gone
            or time.monotonic() - changed > times.stale
        ):
            mine = _this_process()
            if store.create(_name(folder, number + 1), mine.as_bytes()):
                if owner is not None and not owner.released:
                    event(label, f"taken over from {owner}, which has ended", folder=folder)
                return Lock(store, folder, number + 1, mine, times, label)
            continue  # another run was quicker
        if not wait:
            raise StageLocked(
                f"{label}: {owner} works on {store.uri(folder)}. Start again when it has ended, or without --lock.no-wait"
            )
        if said != owner.token:
            said = owner.token
            event(label, f"waits for {owner}", folder=folder)
        pause.wait(times.look)


def _name(folder: str, number: int) -> str:
    return f"{folder}/{FOLDER}/{number:04d}.json"


def _this_process() -> Owner:
    now = time.time()
    pid = os.getpid()
    return Owner(
        uuid.uuid4().hex,
        run_name(),
        socket.gethostname(),
        _machine(),
        pid,
        _process_started(pid) or "",
        now,
        now,
    )


@functools.cache
def _machine() -> str:
    """This boot of the kernel and this PID namespace; where the system does not tell them, a name that no other process has."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return uuid.uuid4().hex


def _process_started(pid: int) -> str | None:
    """When a process started (clock ticks after boot, proc(5)); None if it has ended, though its parent may not have noticed."""
    try:
        # The command's name, in brackets, may hold any character; after it come the state and 18 numbers, then the start.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]
