"""The trials of a search in the store: what each tries, from before it starts, and how it ended.

A search goes on from these files and the trainings alone: what has not ended is tried again in a new run of Ray Tune's. Tune's own state
would not do. Its table of trials, its searcher with the random numbers, and its count of proposals are files that reach the storage every
few seconds, each by itself and not all at once. After a kill meanwhile the searcher does not know a trial of the table, and Tune ends with
an error at that trial's first result, in every process that goes on; or it proposes for the next trial what the last one tries already.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from musicrec.storage.store import Stage
from tune.results import TrialResult


class Trials:
    """The trials of one search, as its folder has them.

    Attributes
    ----------
    drawn
        What each trial tries, by its number from 1.
    ended
        The results of those that have ended.
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
        """Keep what a trial is to try."""
        self.drawn[number] = drawn
        self._write(number, {"number": number, "drawn": drawn})

    def end(self, result: TrialResult) -> None:
        """Keep how a trial ended."""
        self.ended[result.number] = result
        self._write(result.number, dataclasses.asdict(result))

    def _write(self, number: int, record: dict[str, Any]) -> None:
        # The order of the keys is that of the space, and of the table's columns.
        self.stage.store.write(
            self.stage.path(f"trials/{number:04d}.json"), json.dumps(record, indent=1).encode()
        )
