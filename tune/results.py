"""Results of a search: its trials as a table, plots of the settings, and the winner as a preset."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import sys
from dataclasses import dataclass
from typing import Any

import yaml

from musicrec.config.jobs import Config, TuneConfig
from musicrec.config.load import resolved
from musicrec.pipeline.base import Outcome
from musicrec.storage.store import Stage
from musicrec.studies.search import Search, decoded, settings_of, with_values
from musicrec.telemetry.log import console
from musicrec.telemetry.progress import event
from musicrec.telemetry.redact import redacted
from musicrec.telemetry.tables import csv_table, terminal_table
from tune.spaces import Space

# Sections about where a run works, which are not part of a preset.
PLACES = ("ray", "registry")
INCHES_PER_AXIS = 2.2
RESOLUTION = 150  # dots per inch


class SearchFailed(RuntimeError):
    """Raised when a search has no result, with the reasons."""


@dataclass(frozen=True)
class TrialResult:
    """One trial that ended.

    Attributes
    ----------
    number
        From 1, in the order in which the trials were proposed.
    state
        "trained" until its patience or epochs ran out, "stopped" earlier because it lagged behind,
        or "failed".
    drawn, values
        The drawn values, and the settings they encode.
    validation
        The best validation metric, after ``best_epoch`` epochs.
    training
        Folder of the training run in the store.
    """

    number: int
    state: str
    drawn: dict[str, Any]
    values: dict[str, Any]
    validation: float | None
    best_epoch: int | None
    epochs: int
    seconds: float
    training: str
    reason: str | None


def result_of(search: Search, number: int, drawn: dict[str, Any], error: str | None) -> TrialResult:
    """Return the result of a trial that ended, from its training record.

    Parameters
    ----------
    error
        Why it failed; its last line is kept, without credentials.
    """
    trial = search.trial(drawn)
    history = trial.history()
    scored = [record for record in history if math.isfinite(record["validation"])]
    best = max(scored, key=lambda record: search.better * record["validation"], default=None)
    return TrialResult(
        number=number,
        state="failed" if error is not None else "trained" if trial.finished else "stopped",
        drawn=drawn,
        values=decoded(drawn),
        validation=None if best is None else best["validation"],
        best_epoch=None if best is None else int(best["epoch"]) + 1,
        epochs=len(history),
        seconds=round(math.fsum(record["seconds"] for record in history), 1),
        training=trial.stage.folder,
        reason=None if error is None else redacted(error.strip().splitlines()[-1].strip()),
    )


def best_of(search: Search, results: list[TrialResult]) -> TrialResult:
    """Return the trained trial with the best validation metric.

    Of equal trials it is the first; trial 1 has the configuration's own values.

    Raises
    ------
    SearchFailed
        No trial was trained to its end.
    """
    trained = [
        result for result in results if result.state == "trained" and result.validation is not None
    ]
    if not trained:
        reasons = "\n".join(
            f"  trial {result.number}: {result.reason or result.state}" for result in results
        )
        raise SearchFailed(f"no trial of {search.name} was trained to its end:\n{reasons}")
    return max(trained, key=lambda result: search.better * result.validation)


def table_csv(results: list[TrialResult]) -> str:
    """Return the trials as CSV, one row each; values that are lists as JSON."""
    facts = (
        "number",
        "state",
        "validation",
        "best_epoch",
        "epochs",
        "seconds",
        "training",
        "reason",
    )
    keys = list(results[0].values)
    rows = (
        {fact: getattr(result, fact) for fact in facts}
        | {key: _text(result.values[key]) for key in keys}
        for result in results
    )
    return csv_table([*facts, *keys], rows)


def print_table(search: Search, outcome: Outcome) -> None:
    """Print the trials, the best first, with their changes from trial 1, and a next command."""
    record = outcome.record
    rows = [TrialResult(**row) for row in record["rows"]]
    own = min(rows, key=lambda row: row.number).values
    columns = ("trial", search.metric, "epochs", "seconds", "", "changes from trial 1")
    table = terminal_table(
        columns,
        title=f"{record['trials']} trials of {search.name}: {record['trained']} trained, "
        f"{record['stopped']} stopped early, {record['failed']} failed",
        right=columns[:4],
        no_wrap=columns[:4],
    )
    table.columns[-1].overflow = "fold"
    for row in sorted(
        rows,
        key=lambda row: -math.inf if row.validation is None else search.better * row.validation,
        reverse=True,
    ):
        changes = ", ".join(
            f"{key.removeprefix('sizes.')} {_short(value)}"
            for key, value in row.values.items()
            if value != own[key]
        )
        table.add_row(
            str(row.number),
            "" if row.validation is None else f"{row.validation:.4f}",
            str(row.epochs),
            f"{row.seconds:.0f}",
            row.state,
            row.reason or changes,
            style="bold" if row.number == record["best"] else None,
        )
    console.print(table)
    console.print(f"Preset:     {record['preset']}", highlight=False, soft_wrap=True)
    console.print(
        f"Next:       python jobs/retrain.py --preset {record['preset']}",
        highlight=False,
        soft_wrap=True,
    )


def plots(search: Search, space: Space, results: list[TrialResult]) -> dict[str, tuple[Any, bytes]]:
    """Plot parallel coordinates and the settings' importance.

    Return each by file name as a matplotlib figure and as PNG. With fewer than two different
    results there is nothing to plot, and an event says so.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import optuna
    from optuna.visualization.matplotlib import plot_parallel_coordinate, plot_param_importances

    scored = [
        result for result in results if result.validation is not None and result.state != "failed"
    ]
    if len({result.validation for result in scored}) < 2:
        event("tune", "fewer than two different results: nothing is plotted", results=len(scored))
        return {}
    study = optuna.create_study(direction="maximize" if search.better > 0 else "minimize")
    distributions = {key: parameter.distribution() for key, parameter in space.parameters.items()}
    for result in scored:
        study.add_trial(
            optuna.trial.create_trial(
                params=result.drawn, distributions=distributions, value=result.validation
            )
        )
    importance = optuna.importance.FanovaImportanceEvaluator(seed=search.run.config.seed)
    drawn = {
        "parallel_coordinates.png": plot_parallel_coordinate(study, target_name=search.metric),
        "importance.png": plot_param_importances(
            study, evaluator=importance, target_name=search.metric
        ),
    }
    images = {}
    for name, axes in drawn.items():
        figure = axes.figure
        # The labels of an axis, which may be lists of numbers, need the space up to the next axis.
        figure.set_size_inches(max(6.0, INCHES_PER_AXIS * len(distributions)), 6.0)
        for text in figure.findobj(mpl.text.Text):
            text.set_fontsize(8)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=RESOLUTION, bbox_inches="tight")
        images[name] = (figure, stream.getvalue())
    return images


def write_preset(
    config: TuneConfig, search: Search, results: list[TrialResult], best: TrialResult, stage: Stage
) -> str:
    """Write the configuration with the winner's values; return the file's name in the store."""
    import ray

    winner = with_values(
        Config(**{field.name: getattr(config, field.name) for field in dataclasses.fields(Config)}),
        search.name,
        best.values,
    )
    values = {name: value for name, value in resolved(winner).items() if name not in PLACES}
    resources = ray.cluster_resources()
    minutes = math.fsum(result.seconds for result in results) / 60
    epochs = settings_of(search.run.config, search.name).maximum_epochs
    before = results[0].validation or math.nan
    lines = [
        f"The best of {len(results)} trials of {search.name}, trial {best.number}.",
        f"Written by: {redacted(' '.join(['python', 'jobs/tune.py', *sys.argv[1:]]))}",
        f"Hardware: {resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs; each trial "
        f"used {config.train.workers * config.train.cpus_per_worker:g} CPUs.",
        f"Time: {minutes:.1f} minutes of training, {best.seconds / 60:.1f} of them the best trial.",
        f"Expected of {search.name}: {search.metric} {best.validation:.4f} on the validation split "
        f"(the values before the search: {before:.4f}),",
        f"with at most {epochs} epochs per phase. The test split was not used.",
        "The sections ray and registry are left out: they say where a run works.",
    ]
    text = "".join(f"# {line}\n" for line in lines) + yaml.safe_dump(
        json.loads(json.dumps(redacted(values))), sort_keys=False
    )
    search.run.store.write(stage.path("preset.yaml"), text.encode())
    return stage.path("preset.yaml")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
