"""An ablation end to end: rows over one store, the table of them, and trainings as Ray tasks beside
those of Ray Train."""

from __future__ import annotations

import csv
import dataclasses
import io
import shutil
from pathlib import Path

import pytest
from small_catalog import files_under
from small_run import Retrained

from musicrec.config.jobs import AblateConfig
from musicrec.config.load import ConfigError
from musicrec.storage.store import Store
from musicrec.studies.ablate import ablate

pytestmark = pytest.mark.timeout(
    600
)  # the first test of a session waits for the retrain that all look at

STUDY = """
title: three rows
base: {what: as it was trained}
rows:
  folds: {what: out of fold, change: {train.folds: 2}}
  wider: {what: a wider head, change: {"ensemble.sizes.head": [24]}}
  windows: {what: over two windows, change: {registry.segments: 2}}
"""


def test_rows_train_what_they_change_and_the_table_is_made_again_from_what_is_there(
    retrained: Retrained, tmp_path: Path
) -> None:
    root, before = str(tmp_path / "store"), retrained.done.models["recommendation"]
    shutil.copytree(retrained.store, root)
    shutil.rmtree(
        Path(root) / before.stage.folder
    )  # the base's ensemble is trained again, as a task
    (tmp_path / "study.yaml").write_text(STUDY)
    settings = {
        field.name: getattr(retrained.config, field.name)
        for field in dataclasses.fields(retrained.config)
    }
    settings["train"] = dataclasses.replace(retrained.config.train, launch="task")
    study = {
        "study": str(tmp_path / "study.yaml"),
        "seeds": (retrained.config.seed,),
        "rows": "wider,windows",
    }
    config = AblateConfig(**settings | study | {"store": root})

    markdown = ablate(config)
    store = Store(root)
    assert len(store.folders("ensembles")) == 2
    assert len(store.folders("submodels")) == len(
        retrained.done.run.config.models
    )  # neither row changes a submodel
    again = store.stage("ensembles", before.stage.key).success()
    losses = [[epoch["loss"] for epoch in record["history"]] for record in (again, before.record)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)

    text = store.read(markdown.removeprefix(f"{store.root}/")).decode()
    assert text.startswith("# Ablation: three rows: recommendation\n")
    table = {
        (row["row"], row["metric"]): row
        for row in csv.DictReader(
            io.StringIO(
                store.read(
                    markdown.removeprefix(f"{store.root}/").removesuffix("md") + "csv"
                ).decode()
            )
        )
    }
    scored = store.read_json(f"{retrained.done.evaluated.stage.folder}/results.json")[
        "recommendation"
    ]
    assert float(table["base", "cosine"]["mean"]) == pytest.approx(scored["cosine"], abs=1e-5)
    assert {name for name, _ in table} == {"base", "wider", "windows"}
    # The tracks are shorter than a window: heard as it is served, from its sound, the base answers
    # as it was evaluated.
    assert float(table["windows", "cosine"]["mean"]) == pytest.approx(scored["cosine"], abs=1e-3)
    assert (table["wider", "cosine"]["beside"], table["wider", "cosine"]["artists"]) == (
        "base",
        str(scored["artists"]),
    )

    trained = {
        folder: files_under(root, folder) for folder in ("submodels", "ensembles", "listened")
    }
    assert ablate(config) == markdown
    assert {folder: files_under(root, folder) for folder in trained} == trained

    alone = ablate(dataclasses.replace(config, model="mfcc.large_rnn"))
    text = store.read(alone.removeprefix(f"{store.root}/")).decode()
    assert text.startswith("# Ablation: three rows: mfcc.large_rnn\n")
    assert (
        "| base |" in text and "| wider |" not in text and "| windows |" not in text
    )  # the ensemble's rows are nothing to this model
    assert {folder: files_under(root, folder) for folder in trained} == trained
    with pytest.raises(
        ConfigError, match=r"--model mfcc.large_rn: .*did you mean 'mfcc.large_rnn'"
    ):
        ablate(dataclasses.replace(config, model="mfcc.large_rn"))
