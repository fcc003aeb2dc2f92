"""An ablation: a base and its rows, each with every seed, all in one store, so that a row trains only what it changes."""

from __future__ import annotations

import dataclasses

import numpy as np

from musicrec import schema
from musicrec.config.jobs import AblateConfig
from musicrec.config.load import ConfigError, read_text, suggestion
from musicrec.evaluation.metrics import cosines
from musicrec.pipeline.base import Outcome, Run
from musicrec.pipeline.catalog import open_run
from musicrec.pipeline.embed import TABLE
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.pipeline.ensemble import ensemble, needed_submodels
from musicrec.pipeline.evaluate import TestSplit
from musicrec.pipeline.preflight import check_sizes, fit_to_catalog
from musicrec.pipeline.retrain import Submodels, train_run
from musicrec.pipeline.score_served import score_served
from musicrec.storage.store import Store, fingerprint
from musicrec.studies.ablation import PlannedRow, plan, read_study
from musicrec.studies.ablation_table import (
    COSINE,
    NDCG,
    RECALL,
    AblationRow,
    SeedScores,
    ablation_rows,
    to_csv,
    to_markdown,
)
from musicrec.telemetry.progress import console, event
from musicrec.training.predictions import read_predictions

NEIGHBOURS = 10


def ablate(config: AblateConfig) -> str:
    """Run the rows that are not there yet, the first row of all seeds first; returns the URI of the Markdown, beside which lies the CSV.

    After each row the table so far is written, under the same name.

    Raises
    ------
    ConfigError
        The study has an unknown key, row or model.
    """
    study = read_study(read_text("--study", config.study), config.study)
    rows = plan(study, config, tuple(name for name in config.rows.split(",") if name))
    for row in rows:
        if config.model not in (ENSEMBLE, *row.config.models):
            known = (ENSEMBLE, *row.config.models)
            close = suggestion(config.model, known)
            raise ConfigError(
                f"--model {config.model}: the configuration has no such model{close}; give one of {', '.join(known)}"
            )
        check_sizes(row.config)
    runs = {seed: open_run(dataclasses.replace(rows[0].config, seed=seed)) for seed in config.seeds}
    store = Store(config.store)
    decided = (
        dataclasses.asdict(study),
        config.model,
        config.seeds,
        [dataclasses.asdict(row.config) for row in rows],
    )
    name = f"ablations/{fingerprint(*decided)}.md"
    found: dict[str, list[tuple[Submodels, Outcome]]] = {}
    scores: dict[str, list[SeedScores]] = {row.name: [] for row in rows}
    for row in rows:
        found[row.name] = [_train(run, row, seed, config.model) for seed, run in runs.items()]
        scores[row.name] = [_scores(*done) for done in found[row.name]]
        if row.beside is not None and _keys(found[row.name]) == _keys(found[row.beside]):
            event("ablate", f"'{row.name}' changes nothing of {config.model} and is left out")
            del scores[row.name]
        table = ablation_rows(
            [
                AblationRow(row.name, row.differs, row.beside, scores[row.name])
                for row in rows
                if row.name in scores
            ]
        )
        markdown = to_markdown(table, config.seeds, f"{study.title}: {config.model}")
        store.write(name, markdown.encode())
        store.write(f"{name.removesuffix('md')}csv", to_csv(table).encode())
    console.print(markdown, highlight=False, markup=False, soft_wrap=True)
    event(
        "ablate",
        "written",
        markdown=store.uri(name),
        csv=store.uri(f"{name.removesuffix('md')}csv"),
    )
    return store.uri(name)


def _keys(found: list[tuple[Submodels, Outcome]]) -> list[str]:
    return [outcome.stage.key for _, outcome in found]


def _train(run: Run, row: PlannedRow, seed: int, model: str) -> tuple[Submodels, Outcome]:
    """What a row trains with one seed, and the outcome of it that is scored."""
    # Nothing is logged to MLflow: a study is hundreds of trainings, each of which keeps its history in the store.
    changed = dataclasses.replace(
        run, config=dataclasses.replace(row.config, seed=seed), on_epoch=lambda record: None
    )
    fitted = fit_to_catalog(changed)
    if model == ENSEMBLE:
        done = train_run(fitted, needed_submodels(fitted.config))
        outcome = ensemble(done.run, done.targeted, done.trained)
        if fitted.config.registry.segments > 1:
            outcome = score_served(done, outcome)
    else:
        alone = dataclasses.replace(
            fitted.config, train=dataclasses.replace(fitted.config.train, folds=0)
        )  # folds are for stacks
        done = train_run(dataclasses.replace(fitted, config=alone), [model])
        outcome = done.trained.whole[model]
    event("ablate", "trained", row=row.name, seed=seed)
    return done, outcome


def _scores(done: Submodels, scored: Outcome) -> SeedScores:
    """Every test track's and artist's scores."""
    run, targeted = done.run, done.targeted
    split = TestSplit(run, run.store.read_table(targeted.stage.path(TABLE), schema.EMBEDDINGS))
    predicted = read_predictions(
        run.store, scored.record["predictions"], split.tracks, split.table.shape[1]
    )
    known = np.flatnonzero(np.any(predicted != 0, axis=1))
    artists, vectors = split.by_artist(predicted, known)
    found = split.candidates.retrieve(vectors, artists, split.related, (NEIGHBOURS,)).scores
    values = {
        NDCG.name: dict(zip(artists, found.ndcg[NEIGHBOURS].tolist(), strict=True)),
        RECALL.name: dict(zip(artists, found.recall[NEIGHBOURS].tolist(), strict=True)),
    }
    if not split.held_out:  # else test artists have no place to be compared with
        tracks = [split.tracks[row] for row in known.tolist()]
        values[COSINE.name] = dict(
            zip(tracks, cosines(split.targets[known], predicted[known]).tolist(), strict=True)
        )
    folds = (fold for folds in done.trained.folds.values() for fold in folds)
    trained = {
        outcome.stage.folder: outcome for outcome in (*done.trained.whole.values(), *folds, scored)
    }
    seconds = sum(outcome.record["training_seconds"] for outcome in trained.values())
    return SeedScores(
        run.config.seed,
        values,
        dict(zip(split.tracks, split.artist_of, strict=True)),
        targeted.stage.key,
        seconds,
    )
