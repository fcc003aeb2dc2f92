"""A lock in the store that lets one run at a time work on a stage, and that outlives no owner.

The first owner creates ``FOLDER/locks/0001.json``. A run that follows an owner which has released
the lock or died creates the next number; the highest number is the lock. Of several runs exactly
one creates a number (``Store.create``), so a take-over needs only the conditional write that every
commit relies on, for folders and S3 alike. An owner rewrites the object of its own number every
``Times.beat`` seconds. An owner that was wrongly considered dead writes to an object that is no
longer read, and learns of it from ``Lock.check``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from musicrec.storage.record import DamagedError, json_bytes, parse_json
from musicrec.storage.store import Store
from musicrec.telemetry.log import run_name
from musicrec.telemetry.progress import event

FOLDER = "locks"
# All objects of a lock have the same length: pyarrow asks S3 for the length before it reads, and
# would pad an object that became shorter in between.
OBJECT_BYTES = 1024


@dataclass(frozen=True)
class Times:
    """Intervals in seconds: heartbeat, expiry of a silent owner, and polling of a waiting run.

    A heartbeat through a slow or failing object storage may take a minute with its retries.
    """

    beat: float = 10.0
    stale: float = 90.0
    look: float = 2.0


TIMES = Times()


class StageLocked(RuntimeError):
    """Another run works on the same output; the message names it, where, and since when."""


class LockLost(RuntimeError):
    """Another run considered this one dead, and works on its output."""


@dataclass(frozen=True)
class Owner:
    """The present or last owner of a lock.

    Attributes
    ----------
    token
        Different for every lock ever acquired, so that no two objects are alike.
    machine
        Identifies a process table; host names do not, since containers share and repeat them.
    process_started
        Clock ticks from the system's start to the process'; tells apart processes that reuse an ID.
    since, seen
        Unix times of the acquisition and of the last heartbeat, by the owner's clock.
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
        """Whether the owner was a process of this machine that has ended."""
        return self.machine == _machine() and _process_started(self.pid) != self.process_started

    def is_at_work(self, stale: float = TIMES.stale) -> bool:
        """Whether the owner seems to be working; across machines only as exact as their clocks."""
        return not self.released and not self.is_gone and time.time() - self.seen < stale

    def as_bytes(self) -> bytes:
        """Return the owner as JSON, padded to ``OBJECT_BYTES``."""
        return json_bytes(dataclasses.asdict(self)).ljust(OBJECT_BYTES)


# The owner in a damaged object. A living owner writes a whole one with its next heartbeat.
UNKNOWN = Owner("", "unknown (its lock object is damaged)", "an unknown host", "", 0, "", 0.0, 0.0)


def owner_of(store: Store, folder: str) -> Owner | None:
    """Return the last owner of the folder's lock, or None."""
    return _latest(store, folder)[1]


def _latest(store: Store, folder: str) -> tuple[int, Owner | None]:
    names = [n for n in store.names(f"{folder}/{FOLDER}") if n.removesuffix(".json").isdecimal()]
    if not names:
        return 0, None
    name = max(names, key=_number)
    try:
        file = f"{folder}/{FOLDER}/{name}"
        return _number(name), Owner(**parse_json(store.read(file), store.uri(file)))
    except (DamagedError, TypeError):
        return _number(name), UNKNOWN


def _number(name: str) -> int:
    return int(name.removesuffix(".json"))


@dataclass
class Lock:
    """A lock held by this process."""

    store: Store
    folder: str
    number: int
    owner: Owner
    times: Times
    label: str
    _ended: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Check that the lock is still held; call it before each commit.

        Raises
        ------
        LockLost
            Another run has taken the lock over.
        """
        number, owner = _latest(self.store, self.folder)
        if number != self.number:
            raise LockLost(
                f"{self.label}: {owner} took over {self.store.uri(self.folder)}, because this run "
                f"gave no sign of life for {self.times.stale:g} s. This run commits nothing there; "
                "the output of the other run is the valid one"
            )

    def write(self, released: bool = False) -> None:
        """Write a heartbeat, or release the lock."""
        owner = dataclasses.replace(self.owner, seen=time.time(), released=released)
        self.store.write(_name(self.folder, self.number), owner.as_bytes())

    def beat(self) -> None:
        """Write heartbeats until ``stop``; retry while the storage fails."""
        while not self._ended.wait(self.times.beat):
            with self._log_storage_errors("a heartbeat of the lock could not be written"):
                self.write()

    def stop(self) -> None:
        """End the heartbeats."""
        self._ended.set()

    def release(self) -> None:
        """Release the lock; where the storage fails, it expires after ``times.stale`` seconds."""
        with self._log_storage_errors(
            f"the lock could not be released; another run can take it after {self.times.stale:g} s"
        ):
            self.write(released=True)

    @contextlib.contextmanager
    def _log_storage_errors(self, message: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            event(self.label, message, folder=self.folder, error=str(error))


_held: dict[tuple[str, str, int], Lock] = {}


@contextlib.contextmanager
def acquire(
    store: Store, folder: str, label: str, wait: bool = True, times: Times = TIMES
) -> Iterator[Lock]:
    """Hold the lock of a folder during a ``with`` block; a thread that holds it already keeps it.

    A lock whose owner's process has ended on this machine is taken over at once. One whose object
    has not changed for ``times.stale`` seconds, by the clock of the waiting run, is taken over
    then.

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
    last_seen: Owner | None = None
    last_change = time.monotonic()
    announced: str | None = None
    pause = threading.Event()
    while True:
        number, owner = _latest(store, folder)
        if owner != last_seen:
            last_seen, last_change = owner, time.monotonic()
        if (
            owner is None
            or owner.released
            or owner.is_gone
            or time.monotonic() - last_change > times.stale
        ):
            this_process = _this_process()
            if store.create(_name(folder, number + 1), this_process.as_bytes()):
                if owner is not None and not owner.released:
                    event(label, f"took over the lock of {owner}, which has ended", folder=folder)
                return Lock(store, folder, number + 1, this_process, times, label)
            continue  # another run was faster
        if not wait and owner != UNKNOWN:
            raise StageLocked(
                f"{label}: {owner} works on {store.uri(folder)}. "
                "Start again when it has ended, or without --lock.no-wait"
            )
        if announced != owner.token:
            announced = owner.token
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
    """Identify this boot of the kernel and this PID namespace; random where neither is known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return uuid.uuid4().hex


def _process_started(pid: int) -> str | None:
    """Return the start of a process in clock ticks after boot (proc(5)); None if it has ended.

    A process that has ended and that its parent has not waited for counts as ended.
    """
    try:
        # The command's name, in brackets, may contain any character; after it come the state, 18
        # numbers and the start.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]
