"""Train the Recommendation ensemble over the submodels' predictions and the metadata."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa

from musicrec.config.inputs import fields_of_table, numbers_of, submodels_of
from musicrec.config.load import ConfigError
from musicrec.pipeline.base import REVISION, Outcome, Run, already_complete
from musicrec.pipeline.embed import TABLE
from musicrec.pipeline.launch import launch_training_runs, objective_name, schedule
from musicrec.pipeline.train import Trained
from musicrec.specs.ensemble import EnsembleSpec
from musicrec.storage.store import Stage, fingerprint
from musicrec.training.training_run import EXAMPLES, TrainingRun, read_ensemble_inputs

NAME = "recommendation"


def ensemble(run: Run, embedded: Outcome, trained: Trained) -> Outcome:
    """Train the ensemble.

    The stage's folder holds its weights and its predictions of every track that has the inputs it
    needs.
    """
    stage = ensemble_stage(run, embedded, trained)
    if stage.success() is not None:
        return already_complete(stage, "ensemble")
    return launch_training_runs(run, [ensemble_training_run(run, stage, embedded, trained)])[
        stage.folder
    ]


def ensemble_stage(run: Run, embedded: Outcome, trained: Trained) -> Stage:
    """Return the stage of the ensemble."""
    settings = run.config.ensemble
    key = fingerprint(
        REVISION,
        embedded.stage.key,
        trained.keys(submodels_of(run.config.ensemble.branches)),
        dataclasses.asdict(settings),
        run.config.seed,
        run.config.train.key_fields(),
        run.left_out,
    )
    return run.store.stage("ensembles", key)


def ensemble_training_run(
    run: Run, stage: Stage, embedded: Outcome, trained: Trained
) -> TrainingRun:
    """Write the inputs of the ensemble's training run into its folder, and return the run."""
    settings, predictions = (
        run.config.ensemble,
        trained.predictions(submodels_of(run.config.ensemble.branches)),
    )
    rows = track_rows(run)
    ranges = {name: _range([row[name] for row in rows]) for name in numbers_of(settings.branches)}
    spec = EnsembleSpec(
        embedded.record["dimensions"],
        settings.branches,
        settings.sizes,
        ranges,
        needs_all=settings.modality_dropout == 0,
    )
    examples = pa.Table.from_pylist(rows, schema=EXAMPLES)
    usable = read_ensemble_inputs(run.store, spec, examples, predictions).usable(spec.needs_all)
    splits = np.array([row["split"] for row in rows])
    for split in ("train", "validation"):
        if not usable[splits == split].any():
            raise ConfigError(
                f"ensemble: no track of the split '{split}' has all of the branches "
                f"{', '.join(settings.branches)}; set ensemble.modality_dropout above 0, "
                "so that any subset works, or leave branches out"
            )
    run.store.write_json(stage.path("spec.json"), spec.as_json())
    run.store.write_table(stage.path("examples.parquet"), examples, EXAMPLES)
    return TrainingRun(
        store=run.store.root,
        name=NAME,
        folder=stage.folder,
        kind="ensemble",
        objective=objective_name(run.config, settings),
        targets=embedded.stage.path(TABLE),
        schedule=schedule(settings, run.config.train),
        seed=run.config.seed,
        modality_dropout=settings.modality_dropout,
        predictions=predictions,
    )


def track_rows(run: Run) -> list[dict[str, Any]]:
    """Return each track with the numbers that the catalog has of it and of its artist."""
    artists = {row["artist_id"]: row for row in run.catalog.artists.to_pylist()}
    columns = ["track_id", "artist_id", "split", *fields_of_table("tracks", "number")]
    of_artist = fields_of_table("artists", "number")
    return [
        row | {name: artists[row["artist_id"]][name] for name in of_artist}
        for row in run.catalog.tracks.select(columns).to_pylist()
    ]


def _range(values: list[float | None]) -> tuple[float, float]:
    given = [value for value in values if value is not None]
    return (float(min(given)), float(max(given))) if given else (0.0, 1.0)
