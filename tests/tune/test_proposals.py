"""Proposals of a search: each trial once, the own values first, the same after a kill."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from musicrec.storage.store import Store
from tune.proposals import Proposals
from tune.results import TrialResult
from tune.spaces import Parameter, Space
from tune.trials import Trials

OWN = {"rate": 0.01, "layers": 2, "pool": "[1, 2]"}
RANGES = {
    "rate": Parameter(low=1e-4, high=1.0, log=True),
    "layers": Parameter(low=1, high=4, whole=True),
    "pool": Parameter(choices=([1, 2], [2, 2])),
}
CHOICES = {"rate": Parameter(choices=(0.1, 0.2)), "layers": Parameter(choices=(1, 2))}
TOTAL, FAILING = 8, 5


class Process:
    """One process of a search, up to its kill."""

    def __init__(
        self,
        folder: Path,
        parameters: dict[str, Parameter] = RANGES,
        own: dict[str, Any] = OWN,
        total: int = TOTAL,
    ) -> None:
        self.trials = Trials(Store(str(folder)).stage("searches", "key"))
        if not self.trials.drawn:
            self.trials.propose(1, own)
        space = Space("space.yaml", "time", parameters)
        self.searcher = Proposals(
            self.trials, total, space, better=1, seed=2**32 - 3, random_trials=3
        )

    def suggest(self) -> dict[str, Any]:
        return self.searcher.suggest("id")

    def end(self, proposal: dict[str, Any]) -> None:
        """Train a trial and store its result."""
        number, drawn = proposal["number"], proposal["drawn"]
        state, validation = (
            ("failed", None)
            if number == FAILING
            else ("trained", -((drawn["rate"] - 0.3) ** 2) - drawn["layers"])
        )
        result = TrialResult(
            number, state, drawn, drawn, validation, 1, 1, 1.0, f"submodels/{number}", None
        )
        self.trials.end(result)
        self.searcher.on_trial_complete("id", {"validation": validation}, error=state == "failed")


@pytest.mark.parametrize(
    "killed",
    [set(), {"proposed"}, {"ended"}, {"proposed", "ended"}],
    ids=lambda killed: "-".join(sorted(killed)),
)
def test_a_killed_search_proposes_what_it_would_have_proposed(
    tmp_path: Path, killed: set[str]
) -> None:
    calm = Process(tmp_path / "calm")
    for _ in range(TOTAL):
        calm.end(calm.suggest())
    assert calm.trials.drawn[1] == OWN
    assert all(one != other for one, other in itertools.combinations(calm.trials.drawn.values(), 2))

    process = Process(tmp_path / "killed")
    for number in range(1, TOTAL + 1):
        proposal = process.suggest()
        if "proposed" in killed:
            process = Process(tmp_path / "killed")
            assert process.suggest() == proposal
        assert proposal == {"number": number, "drawn": calm.trials.drawn[number]}
        process.end(proposal)
        if "ended" in killed:
            process = Process(tmp_path / "killed")
    assert process.trials.ended == calm.trials.ended
    assert list(process.trials.ended[TOTAL].drawn) == list(OWN)  # the table's columns


def test_concurrent_trials_keep_their_numbers(tmp_path: Path) -> None:
    process = Process(tmp_path)
    first, second, third = (process.searcher.suggest(name) for name in "abc")
    process.trials.end(
        TrialResult(
            2, "stopped", second["drawn"], second["drawn"], 0.5, 1, 1, 1.0, "submodels/2", None
        )
    )
    process = Process(tmp_path)
    assert [process.searcher.suggest(name) for name in "ab"] == [first, third]
    fourth = process.searcher.suggest("c")
    assert fourth["number"] == 4
    assert fourth["drawn"] not in (first["drawn"], second["drawn"], third["drawn"])


def test_a_space_of_few_choices_is_tried_to_its_end_before_a_trial_repeats_another(
    tmp_path: Path,
) -> None:
    process = Process(tmp_path, CHOICES, {"rate": "0.1", "layers": "1"}, total=5)
    drawn = [process.searcher.suggest(str(number))["drawn"] for number in range(5)]
    combinations = [
        {"rate": rate, "layers": layers} for rate in ("0.1", "0.2") for layers in ("1", "2")
    ]
    assert sorted(map(str, drawn[:4])) == sorted(map(str, combinations))
    assert drawn[4] in combinations
