"""Trials of a search in the store: the values of each, written before it starts, and its result.

A search is resumed from only these files and the training runs: trials that have not ended are
tried again in a new run of Ray Tune. Tune's own state is not enough. Its table of trials, its
searcher with the random numbers, and its count of proposals are files that reach the storage every
few seconds, each separately. After a kill in between, the searcher does not know a trial of the
table, and every resuming process ends with an error at that trial's first result; or the searcher
proposes the values of the last trial again.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from musicrec.storage.store import Stage
from tune.results import TrialResult


class Trials:
    """The trials of one search, as stored in its folder.

    Attributes
    ----------
    drawn
        The values of each trial, by its number from 1.
    ended
        The results of the trials that have ended.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.drawn: dict[int, dict[str, Any]] = {}
        self.ended: dict[int, TrialResult] = {}
        for name in stage.store.names(stage.path("trials")):
            record = stage.store.read_json(stage.path(f"trials/{name}"))
            self.drawn[record["number"]] = record["drawn"]
            if "state" in record:
                self.ended[record["number"]] = TrialResult(**record)

    def propose(self, number: int, drawn: dict[str, Any]) -> None:
        """Store the values of a new trial."""
        self.drawn[number] = drawn
        self._write(number, {"number": number, "drawn": drawn})

    def end(self, result: TrialResult) -> None:
        """Store the result of a trial."""
        self.ended[result.number] = result
        self._write(result.number, dataclasses.asdict(result))

    def _write(self, number: int, record: dict[str, Any]) -> None:
        # The order of the keys is that of the space, and of the CSV's columns.
        self.stage.store.write(
            self.stage.path(f"trials/{number:04d}.json"), json.dumps(record, indent=1).encode()
        )
