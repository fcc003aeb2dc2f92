"""How much of a planted graph comes back from plays drawn from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from musicrec.benchmarks.planted import planted_graph
from musicrec.benchmarks.relate import recovered, write_plays
from musicrec.relations.relate import Related


@pytest.mark.slow
def test_planted_relations_come_back(tmp_path: Path, related: Callable[..., Related]) -> None:
    graph = planted_graph(300)
    write_plays(graph, 60_000, tmp_path / "plays.csv")
    shares = recovered(graph, related(tmp_path / "plays.csv").tables())
    assert shares["chance"] == pytest.approx(20 / 299)
    assert shares["related"] > 0.5
    assert shares["related"] > 4 * max(shares["chance"], shares["popularity"])
