"""An ablation: a base and its rows, each with every seed, all in one store, so that a row trains only what it changes."""

from __future__ import annotations

import dataclasses

import numpy as np

from musicrec import schema
from musicrec.ablation import PlannedRow, plan, read_study
from musicrec.config import read_text
from musicrec.evaluation.ablation_table import COSINE, NDCG, RECALL, AblationRow, SeedScores, ablation_rows, to_csv, to_markdown
from musicrec.evaluation.metrics import cosines
from musicrec.evaluation.retrieval import evaluate_retrieval
from musicrec.progress import console, event
from musicrec.settings import AblateConfig
from musicrec.stages.base import Run
from musicrec.stages.catalog import open_run
from musicrec.stages.embed import TABLE
from musicrec.stages.ensemble import ensemble, needed_submodels
from musicrec.stages.evaluate import TestSplit
from musicrec.stages.inputs import check_sizes, fit_to_catalog
from musicrec.stages.retrain import Stacked, train_run
from musicrec.store import Store, fingerprint
from musicrec.training.outputs import read_predictions

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
        check_sizes(row.config)
    runs = {seed: open_run(dataclasses.replace(rows[0].config, seed=seed)) for seed in config.seeds}
    store = Store(config.store)
    name = f"ablations/{fingerprint(dataclasses.asdict(study), config.seeds, [dataclasses.asdict(row.config) for row in rows])}.md"
    scores: dict[str, list[SeedScores]] = {row.name: [] for row in rows}
    for row in rows:
        for seed, run in runs.items():
            scores[row.name].append(_scores(_run_row(run, row, seed)))
            event("ablate", "scored", row=row.name, seed=seed)
        table = ablation_rows([AblationRow(row.name, row.differs, row.beside, scores[row.name]) for row in rows])
        markdown = to_markdown(table, config.seeds, study.title)
        store.write(name, markdown.encode())
        store.write(f"{name.removesuffix('md')}csv", to_csv(table).encode())
    console.print(markdown, highlight=False, markup=False, soft_wrap=True)
    event("ablate", "written", markdown=store.uri(name), csv=store.uri(f"{name.removesuffix('md')}csv"))
    return store.uri(name)


def _run_row(run: Run, row: PlannedRow, seed: int) -> Stacked:
    # Nothing is logged to MLflow: a study is hundreds of trainings, each of which keeps its history in the store.
    changed = dataclasses.replace(run, config=dataclasses.replace(row.config, seed=seed), on_epoch=lambda record: None)
    fitted = fit_to_catalog(changed)
    done = train_run(fitted, needed_submodels(fitted.config))
    return Stacked(done, {}, ensemble(done.run, done.targeted, done.trained))


def _scores(done: Stacked) -> SeedScores:
    """Every test artist's scores by the ensemble."""
    run, targeted = done.submodels.run, done.submodels.targeted
    split = TestSplit(run, run.store.read_table(targeted.stage.path(TABLE), schema.EMBEDDINGS))
    predicted = read_predictions(run.store, done.ensemble.record["predictions"], split.tracks, split.table.shape[1])
    known = np.flatnonzero(np.any(predicted != 0, axis=1))
    artists, vectors = split.by_artist(predicted, known)
    found = evaluate_retrieval(vectors, artists, split.table, split.ids, split.related, ks=(NEIGHBOURS,)).scores
    tracks = [split.tracks[row] for row in known.tolist()]
    values = {
        COSINE.name: dict(zip(tracks, cosines(split.targets[known], predicted[known]).tolist(), strict=True)),
        NDCG.name: dict(zip(artists, found.ndcg[NEIGHBOURS].tolist(), strict=True)),
        RECALL.name: dict(zip(artists, found.recall[NEIGHBOURS].tolist(), strict=True)),
    }
    folds = (fold for folds in done.submodels.trained.folds.values() for fold in folds)
    trained = (*done.models.values(), *folds)
    seconds = sum(outcome.record["training_seconds"] for outcome in trained)
    return SeedScores(run.config.seed, values, dict(zip(split.tracks, split.artist_of, strict=True)), targeted.stage.key, seconds)
