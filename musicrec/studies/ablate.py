"""Run an ablation: a base and its rows with every seed, in one store.

A row trains only what it changes.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from musicrec import schema
from musicrec.config.inputs import submodels_of
from musicrec.config.jobs import AblateConfig
from musicrec.config.load import ConfigError, read_text, suggestion
from musicrec.evaluation.metrics import cosines
from musicrec.pipeline.base import Outcome, Run
from musicrec.pipeline.catalog import open_run
from musicrec.pipeline.embed import TABLE
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.pipeline.ensemble import ensemble
from musicrec.pipeline.evaluate import TestSplit
from musicrec.pipeline.preflight import check_sizes, fit_to_catalog
from musicrec.pipeline.ranking import rank
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
from musicrec.telemetry.log import console
from musicrec.telemetry.progress import event
from musicrec.training.predictions import read_predictions

NEIGHBOURS = 10


def ablate(config: AblateConfig) -> str:
    """Run the rows that are missing, the first row of all seeds first; return the Markdown's URI.

    The CSV has the same name with another ending. After each row both are written with the table so
    far.

    Raises
    ------
    ConfigError
        The study has an unknown key, row or model.
    """
    study = read_study(read_text("--study", config.study), config.study)
    rows = plan(study, config, tuple(name for name in config.rows.split(",") if name))
    for row in rows:
        if config.model not in (ENSEMBLE, *row.config.models):
            names = (ENSEMBLE, *row.config.models)
            raise ConfigError(
                f"--model {config.model}: the configuration has no such model"
                f"{suggestion(config.model, names)}; give one of {', '.join(names)}"
            )
        check_sizes(row.config)
    runs = {seed: open_run(dataclasses.replace(rows[0].config, seed=seed)) for seed in config.seeds}
    store = Store(config.store)
    key_values = (
        dataclasses.asdict(study),
        config.model,
        config.seeds,
        [dataclasses.asdict(row.config) for row in rows],
    )
    name = f"ablations/{fingerprint(*key_values)}.md"
    results: dict[str, list[FinishedRow]] = {}
    scores: dict[str, list[SeedScores]] = {row.name: [] for row in rows}
    for row in rows:
        results[row.name] = [_train(run, row, seed, config.model) for seed, run in runs.items()]
        scores[row.name] = [_scores(finished) for finished in results[row.name]]
        if row.baseline is not None and _keys(results[row.name]) == _keys(results[row.baseline]):
            event("ablate", f"'{row.name}' changes nothing of {config.model} and is left out")
            del scores[row.name]
        table = ablation_rows(
            [
                AblationRow(row.name, row.differs, row.baseline, scores[row.name])
                for row in rows
                if row.name in scores
            ]
        )
        markdown = to_markdown(table, config.seeds, f"{study.title}: {config.model}")
        store.write(name, markdown.encode())
        store.write(f"{name.removesuffix('md')}csv", to_csv(table).encode())
    console.print(markdown, highlight=False, soft_wrap=True)
    event(
        "ablate",
        "written",
        markdown=store.uri(name),
        csv=store.uri(f"{name.removesuffix('md')}csv"),
    )
    return store.uri(name)


@dataclass(frozen=True)
class FinishedRow:
    """A row trained with one seed: its models, the outcome to score, and its ranking's members."""

    done: Submodels
    scored: Outcome
    ranked: Outcome | None = None


def _keys(results: list[FinishedRow]) -> list[tuple[str, str | None]]:
    return [
        (row.scored.stage.key, None if row.ranked is None else row.ranked.stage.key)
        for row in results
    ]


def _train(run: Run, row: PlannedRow, seed: int, model: str) -> FinishedRow:
    """Train a row with one seed."""
    # Not logged to MLflow: a study is hundreds of training runs, whose history is in the store.
    changed = dataclasses.replace(
        run, config=dataclasses.replace(row.config, seed=seed), on_epoch=lambda record: None
    )
    fitted = fit_to_catalog(changed)
    if model == ENSEMBLE:
        done = train_run(fitted, submodels_of(fitted.config.ensemble.branches))
        outcome = ensemble(done.run, done.targeted, done.trained)
        ranked = rank(done.run, done.targeted, outcome)
        if fitted.config.registry.segments > 1:
            outcome = score_served(done, outcome)
    else:
        # Folds are for stacks.
        single = dataclasses.replace(
            fitted.config, train=dataclasses.replace(fitted.config.train, folds=0)
        )
        done = train_run(dataclasses.replace(fitted, config=single), [model])
        outcome, ranked = done.trained.whole[model], None
    event("ablate", "trained", row=row.name, seed=seed)
    return FinishedRow(done, outcome, ranked)


def _scores(finished: FinishedRow) -> SeedScores:
    """Score every test track and artist, by the row's ranking if it has other members."""
    done, scored = finished.done, finished.scored
    run, targeted = done.run, done.targeted
    split = TestSplit(run, run.store.read_table(targeted.stage.path(TABLE), schema.EMBEDDINGS))
    predicted = read_predictions(
        run.store, scored.record["predictions"], split.tracks, split.table.shape[1]
    )
    predicted_rows = np.flatnonzero(np.any(predicted != 0, axis=1))
    artists, vectors = split.by_artist(predicted, predicted_rows)
    ranking = split.ranking(run, finished.ranked)
    scores = split.candidates.retrieve(
        vectors, artists, split.related, (NEIGHBOURS,), ranking
    ).scores
    values = {
        NDCG.name: dict(zip(artists, scores.ndcg[NEIGHBOURS].tolist(), strict=True)),
        RECALL.name: dict(zip(artists, scores.recall[NEIGHBOURS].tolist(), strict=True)),
    }
    if not split.held_out:  # held-out test artists have no vector to compare with
        tracks = [split.tracks[row] for row in predicted_rows.tolist()]
        cosine = cosines(split.targets[predicted_rows], predicted[predicted_rows])
        values[COSINE.name] = dict(zip(tracks, cosine.tolist(), strict=True))
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
