"""Make a run do again what a damaged object was a part of."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from musicrec.storage.record import SUCCESS, DamagedError
from musicrec.telemetry.progress import event

if TYPE_CHECKING:
    from musicrec.storage.store import Store

PARTS, DAMAGED, OUTCOMES = "parts", "damaged", "outcomes"


def report(store: Store, name: str, reason: str, others: Collection[str] = ()) -> DamagedError:
    """Make the work of a damaged object count as not done; return the error that names it.

    The records of the folders that hold it are removed. A part of an extraction is marked in
    ``damaged/BLOCK.json``, and the next attempt at its block replaces it. A reader that may not
    write changes nothing, and finds the same damage the next time.

    Parameters
    ----------
    reason
        What is wrong, or the text of a DamagedError that names the object.
    others
        Objects that are removed as well, since they would spare the work.
    """
    damaged = f"{store.uri(name)} is damaged: "
    reason = reason.removeprefix(damaged)
    text = damaged + " ".join(reason.split())
    try:
        _withdraw(store, name, reason, others)
    except OSError as error:
        event("storage", f"{text}; its record cannot be removed", error=str(error))
        return DamagedError(f"{text}. A run that may write to the store makes it again")
    event("storage", f"{text}: it is made again by the next run")
    return DamagedError(f"{text}. Start the job that wrote it again: only this is made anew")


def _withdraw(store: Store, name: str, reason: str, others: Collection[str]) -> None:
    folder, _, file = name.rpartition("/")
    above, _, last = folder.rpartition("/")
    if last == PARTS:
        block = file.removesuffix(".parquet")
        store.write_json(f"{above}/{DAMAGED}/{block}.json", {"reason": reason})
        store.remove(f"{above}/{OUTCOMES}/{block.partition('-')[0]}.parquet")
    while folder:
        store.remove(f"{folder}/{SUCCESS}")
        folder = folder.rpartition("/")[0]
    store.remove(SUCCESS)
    for other in others:
        store.remove(other)
