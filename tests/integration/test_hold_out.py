"""Embeddings that know the relations of test artists beside embeddings that do not, on the small
catalog."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from small_catalog import files_under
from small_run import Retrained

from musicrec.config.errors import ConfigError
from musicrec.config.jobs import HoldOutConfig
from musicrec.pipeline.evaluate import RESULTS
from musicrec.pipeline.retrain import retrain
from musicrec.storage.store import Store
from musicrec.studies.held_out_relations import hold_out

pytestmark = pytest.mark.timeout(
    600
)  # the first test of a session waits for the retrain that all look at


def test_relations_held_out_stand_beside_those_that_are_known(
    retrained: Retrained, tmp_path: Path
) -> None:
    store = str(shutil.copytree(retrained.store, tmp_path / "store"))
    train = dataclasses.replace(retrained.config.train, launch="task")
    config = HoldOutConfig(
        **vars(dataclasses.replace(retrained.config, store=store, train=train)),
        seeds=(retrained.config.seed,),
    )
    before = files_under(store, "evaluation")
    lines = [
        line.strip("| ").split(" | ")
        for line in Path(hold_out(config)).read_text().splitlines()
        if line.startswith("| ")
    ]
    rows = {cells[0]: cells for cells in lines}
    assert rows.keys() >= {
        "chance (exact)",
        "random",
        "popularity",
        "mean embedding",
        "ridge",
        "recommendation",
    }
    assert all(0 <= float(cell) <= 1 for cell in rows["recommendation"][1:3])
    # What was known was evaluated already; held out, the submodels have other targets, and the test
    # artists no cosine to one.
    (results,) = {
        name for name in files_under(store, "evaluation") if name.endswith(RESULTS)
    } - before.keys()
    held_out = Store(store).read_json(results)["recommendation"]
    assert "cosine" not in held_out
    assert held_out["ndcg@5"] == held_out["without_test_artists"]["ndcg@5"]


def test_a_recommender_is_not_registered_of_what_is_for_evaluation(retrained: Retrained) -> None:
    embed = dataclasses.replace(retrained.config.embed, hold_out_test_relations=True)
    with pytest.raises(ConfigError, match=r"embed\.hold_out_test_relations"):
        retrain(dataclasses.replace(retrained.config, embed=embed))
