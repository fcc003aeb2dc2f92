"""Reproduce a table of the thesis: train every row with each seed, write Markdown and CSV."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from musicrec.config.inputs import submodels_of
from musicrec.config.jobs import Config, ReproduceConfig
from musicrec.config.load import ConfigError
from musicrec.config.sections import StackSettings
from musicrec.evaluation.thesis import TABLES, Metric, Table
from musicrec.models import VARIANTS, count_parameters
from musicrec.pipeline.base import Outcome
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.pipeline.ensemble import ensemble
from musicrec.pipeline.evaluate import RESULTS
from musicrec.pipeline.retrain import (
    Evaluated,
    Stacked,
    evaluate_stacked,
    stack_submodels,
    train_submodels,
)
from musicrec.specs.ensemble import EnsembleSpec
from musicrec.specs.stack import StackSpec
from musicrec.specs.submodel import SubmodelSpec
from musicrec.storage.store import fingerprint
from musicrec.studies.comparison import SeedResult, TestedOn, comparison_rows, to_csv, to_markdown
from musicrec.studies.counts import RECOMMENDATIONS
from musicrec.telemetry.log import console
from musicrec.telemetry.progress import event

# Our metrics in addition to the thesis'.
EXTRA = {
    "single_genre": (
        Metric("f1_macro", "macro-F1", True),
        Metric("f1_weighted", "weighted F1", True),
    ),
    "many_genres": (
        Metric("map_macro", "mAP", True),
        Metric("roc_auc_macro", "ROC-AUC", True),
        Metric("f1_macro", "macro-F1", True),
    ),
    "embedding": (Metric("ndcg@10", "NDCG@10", True), Metric("recall@10", "recall@10", True)),
}

# The baseline that scores every test track of a genre task.
CONSTANTS = {"single_genre": "majority", "many_genres": "label shares"}


def reproduce(config: ReproduceConfig) -> str:
    """Run a table; return the URI of its Markdown. The CSV has the same name with another ending.

    Raises
    ------
    ConfigError
        No table is given, the configuration has another task, or a row is not in the table.
    """
    table = _table(config)
    runs = [_run_table(table, dataclasses.replace(config, seed=seed)) for seed in config.seeds]
    names = {name: None for run in runs for name in _results(run)}
    results = {
        name: [_seed_result(run, table, name) for run in runs if name in _results(run)]
        for name in names
    }
    models = {name: seeds for name, seeds in results.items() if name in runs[0].models}
    others = {name: seeds for name, seeds in results.items() if name not in models}
    rows = comparison_rows(table, models, others)
    arguments = (table, rows, _tested_on(runs[0]), EXTRA[table.task])
    markdown = to_markdown(*arguments)
    store, key = runs[0].run.store, fingerprint([run.evaluated.stage.key for run in runs])
    store.write(f"tables/table-{table.number}-{key}.csv", to_csv(*arguments).encode())
    name = f"tables/table-{table.number}-{key}.md"
    store.write(name, markdown.encode())
    console.print(markdown, highlight=False, soft_wrap=True)
    event(
        "reproduce",
        "written",
        table=table.number,
        markdown=store.uri(name),
        csv=store.uri(name.removesuffix("md") + "csv"),
    )
    return store.uri(name)


def _table(config: ReproduceConfig) -> Table:
    if config.table is None:
        raise ConfigError("--table is not given: name one of 3, 4, 5, 6, or --counts")
    table = TABLES[config.table]
    if config.task != table.task:
        raise ConfigError(
            f"table {table.number} has the task {table.task}, and the configuration's task is "
            f"{config.task}: set task"
        )
    return table


def table_config(table: Table, config: ReproduceConfig) -> Config:
    """Return the configuration of a table's rows, or of the selected rows and what they need.

    Table 6 has Simple and TimeFreqAvg in addition to the recommender's submodels; a retrain does
    not need these.
    """
    models, stacks = dict(config.models), dict(config.stacks)
    if table.number == 6:
        for feature in {model.feature: None for model in config.models.values()}:
            if f"{feature}.time" in models and f"{feature}.freq" in models:
                models[f"{feature}.simple"] = dataclasses.replace(
                    models[f"{feature}.time"], architecture="simple", sizes={}
                )
                pair = (f"{feature}.time", f"{feature}.freq")
                stacks[f"{feature}.time_freq_avg"] = StackSettings(
                    architecture="time_freq_avg", submodels=pair
                )
    selected = [name for name in config.rows.split(",") if name]
    variants = RECOMMENDATIONS if table.number == 6 else {}
    rows = (*models, *stacks, *variants)
    for name in selected:
        if name not in rows:
            raise ConfigError(
                f"--rows {name}: the configuration has no such row; it has {', '.join(rows)}"
            )
    if selected:
        stacks = {name: stack for name, stack in stacks.items() if name in selected}
        submodels = (submodel for stack in stacks.values() for submodel in stack.submodels)
        needed = {*selected, *submodels}
        # The recommender is always among the rows, and needs its submodels.
        if table.task == "embedding":
            needed |= {*submodels_of(config.ensemble.branches)}
        models = {name: model for name, model in models.items() if name in needed}
    return dataclasses.replace(config, models=models, stacks=stacks)


def _run_table(table: Table, config: ReproduceConfig) -> Evaluated:
    done = stack_submodels(train_submodels(table_config(table, config)))
    if table.number == 6:
        done = dataclasses.replace(done, stacks={**done.stacks, **_variants(done, config)})
    return evaluate_stacked(done)


def _variants(done: Stacked, config: ReproduceConfig) -> dict[str, Outcome]:
    """Train the thesis' variants of Recommendation with fewer branches, as far as inputs allow."""
    run, selected = done.submodels.run, [name for name in config.rows.split(",") if name]
    variants: dict[str, Outcome] = {}
    for name, selection in RECOMMENDATIONS.items():
        branches = tuple(
            branch for branch in VARIANTS[selection] if branch in run.config.ensemble.branches
        )
        if (
            name == ENSEMBLE
            or (selected and name not in selected)
            or len(branches) < len(VARIANTS[selection])
        ):
            continue
        changed = dataclasses.replace(
            run.config, ensemble=dataclasses.replace(run.config.ensemble, branches=branches)
        )
        variants[name] = ensemble(
            dataclasses.replace(run, config=changed),
            done.submodels.targeted,
            done.submodels.trained,
        )
    return variants


def _results(done: Evaluated) -> dict[str, Any]:
    return done.run.store.read_json(done.evaluated.stage.path(RESULTS))


def _seed_result(done: Evaluated, table: Table, name: str) -> SeedResult:
    scores = _results(done)[name]
    metrics = [metric.name for metric in (*table.metrics, *EXTRA[table.task])]
    intervals = {
        metric: scores.get("intervals", {}).get(metric) or scores.get(f"{metric}_interval")
        for metric in metrics
    }
    model = done.models.get(name)
    return SeedResult(
        values={metric: scores[metric] for metric in metrics if scores.get(metric) is not None},
        intervals={metric: tuple(interval) for metric, interval in intervals.items() if interval},
        parameters=None if model is None else _parameters(done, name),
        seconds=None if model is None else model.record.get("training_seconds"),
    )


def _parameters(done: Evaluated, name: str) -> int:
    """Count a trained model's parameters; a stack or average includes its submodels."""
    stage = done.models[name].stage
    values = done.run.store.read_json(stage.path("spec.json"))
    if stage.name == "submodels":
        return _count(SubmodelSpec.from_json(values))
    if stage.name == "ensembles":
        return _count(EnsembleSpec.from_json(values))
    spec = StackSpec.from_json(values)
    return _count(spec) + sum(_parameters(done, submodel) for submodel in spec.submodels)


def _count(spec: SubmodelSpec | StackSpec | EnsembleSpec) -> int:
    with torch.device("meta"):
        return count_parameters(spec.build())


def _tested_on(done: Evaluated) -> TestedOn:
    splits = done.run.catalog.tracks.column("split").to_pylist()
    form = done.run.config.catalog_rules.form
    data = {"fma": f"FMA {done.run.config.catalog_rules.fma_subset}", "cifar100": "CIFAR-100"}.get(
        form, done.run.config.catalog
    )
    counts = {split: splits.count(split) for split in ("train", "validation", "test")}
    constant = CONSTANTS.get(done.run.config.task)
    absent = None if constant is None else _results(done)[constant]["absent_classes"]
    return TestedOn(
        data,
        **counts,
        errors=done.extracted.record["rows_in_errors"],
        classes=done.evaluated.record.get("classes"),
        absent_classes=len(absent) if isinstance(absent, list) else absent,
    )
