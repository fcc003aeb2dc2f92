"""Train and evaluate every seed with and without the relations of test artists."""

from __future__ import annotations

import dataclasses
from typing import Any

from musicrec.config.jobs import HoldOutConfig
from musicrec.config.load import ConfigError
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.pipeline.evaluate import BASELINES, RESULTS
from musicrec.pipeline.retrain import Evaluated, evaluate_run
from musicrec.storage.store import fingerprint
from musicrec.studies.held_out_table import to_markdown
from musicrec.telemetry.log import console
from musicrec.telemetry.progress import event


def hold_out(config: HoldOutConfig) -> str:
    """Run what is missing; return the URI of the table (Markdown).

    Raises
    ------
    ConfigError
        The task has no embeddings, or no artist has a vector without the test artists' relations.
    """
    if config.task != "embedding":
        raise ConfigError(f"task {config.task}: only the task embedding learns from relations")
    runs: dict[bool, list[Evaluated]] = {False: [], True: []}
    for seed in config.seeds:
        for held_out, done in runs.items():
            embed = dataclasses.replace(config.embed, hold_out_test_relations=held_out)
            done.append(evaluate_run(dataclasses.replace(config, seed=seed, embed=embed)))
    transductive, held_out = (_scores(runs[choice]) for choice in (False, True))
    markdown = to_markdown(transductive, held_out, config.evaluate.neighbours[0])
    store = runs[True][0].run.store
    keys = [done.evaluated.stage.key for seeds in runs.values() for done in seeds]
    name = f"tables/held-out-{fingerprint(keys)}.md"
    store.write(name, markdown.encode())
    console.print(markdown, highlight=False, soft_wrap=True)
    event("hold_out", "written", markdown=store.uri(name))
    return store.uri(name)


def _scores(runs: list[Evaluated]) -> dict[str, list[dict[str, Any]]]:
    """Return each run's scores by model, among artists with a vector without test relations."""
    results = [done.run.store.read_json(done.evaluated.stage.path(RESULTS)) for done in runs]
    names = (*BASELINES, ENSEMBLE)
    return {name: [result[name]["without_test_artists"] for result in results] for name in names}
