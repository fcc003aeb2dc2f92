"""What a search found: its trials as a table, the pictures of what mattered, and the winner as a preset."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import sys
from dataclasses import dataclass
from typing import Any

import yaml
from rich import box
from rich.table import Table

from musicrec.config.jobs import Config, TuneConfig
from musicrec.config.load import resolved
from musicrec.pipeline.base import Outcome
from musicrec.storage.store import Stage
from musicrec.studies.search import Search, decoded, settings_of, with_values
from musicrec.telemetry.progress import console, event
from musicrec.telemetry.redact import redacted
from tune.spaces import Space

# Where a run works; a preset says what it does.
PLACES = ("ray", "registry")
INCHES_OF_AXIS = 2.2
RESOLUTION = 150  # dots an inch


class SearchFailed(RuntimeError):
    """A search without a result, and why."""


@dataclass(frozen=True)
class TrialResult:
    """One trial as it ended.

    Attributes
    ----------
    number
        From 1, in the order in which the trials were proposed.
    state
        "trained" to the end of its patience or epochs, "stopped" before that since it lagged behind, or "failed".
    drawn, values
        What was drawn, and the settings that it stands for.
    validation
        The best validation metric, after ``best_epoch`` epochs.
    training
        The training's folder in the store.
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
    """A trial that ended, from its training's record.

    Parameters
    ----------
    error
        Why it failed: its last line is kept, without credentials.
    """
    trial = search.trial(drawn)
    history = trial.history()
    best = max(history, key=lambda record: search.better * record["validation"], default=None)
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
    """The trained trial with the best validation metric; of equal ones the first, which has the configuration's own values.

    Raises
    ------
    SearchFailed
        There is none.
    """
    trained = [result for result in results if result.state == "trained"]
    if not trained:
        reasons = "\n".join(
            f"  trial {result.number}: {result.reason or result.state}" for result in results
        )
        raise SearchFailed(f"no trial of {search.name} was trained to its end:\n{reasons}")
    return max(trained, key=lambda result: search.better * result.validation)


def table_csv(results: list[TrialResult]) -> str:
    """The trials, one row each; values that are lists as JSON."""
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
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*facts, *keys])
    for result in results:
        writer.writerow(
            [
                *(getattr(result, fact) for fact in facts),
                *(_text(result.values[key]) for key in keys),
            ]
        )
    return stream.getvalue()


def print_table(search: Search, outcome: Outcome) -> None:
    """Show a search's trials, the best first, with those values that differ from trial 1, and what to type next."""
    record = outcome.record
    rows = [TrialResult(**row) for row in record["rows"]]
    own = min(rows, key=lambda row: row.number).values
    table = Table(
        title=f"{record['trials']} trials of {search.name}: {record['trained']} trained, {record['stopped']} stopped early, "
        f"{record['failed']} failed",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for column in ("trial", search.metric, "epochs", "seconds"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    table.add_column("other than trial 1", overflow="fold")
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
        said = row.reason if row.reason else changes
        figure = "" if row.validation is None else f"{row.validation:.4f}"
        style = "bold" if row.number == record["best"] else None
        table.add_row(
            str(row.number),
            figure,
            str(row.epochs),
            f"{row.seconds:.0f}",
            row.state,
            said,
            style=style,
        )
    console.print(table)
    console.print(f"Preset:     {record['preset']}", highlight=False, soft_wrap=True)
    console.print(
        f"Type next:  python jobs/retrain.py --preset {record['preset']}",
        highlight=False,
        soft_wrap=True,
    )


def figures(
    search: Search, space: Space, results: list[TrialResult]
) -> dict[str, tuple[Any, bytes]]:
    """Parallel coordinates and the settings' importance, each as a figure of matplotlib's and as a PNG, by file name.

    Of fewer than two different results nothing can be said, and it is said so.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import optuna
    from optuna.visualization.matplotlib import plot_parallel_coordinate, plot_param_importances

    scored = [
        result for result in results if result.validation is not None and result.state != "failed"
    ]
    if len({result.validation for result in scored}) < 2:
        event(
            "tune", "fewer than two different results: no pictures are drawn", results=len(scored)
        )
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
    pictures = {}
    for name, axes in drawn.items():
        figure = axes.figure
        # An axis' choices, which may be lists of numbers, stand between it and the next.
        figure.set_size_inches(max(6.0, INCHES_OF_AXIS * len(distributions)), 6.0)
        for text in figure.findobj(mpl.text.Text):
            text.set_fontsize(8)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=RESOLUTION, bbox_inches="tight")
        pictures[name] = (figure, stream.getvalue())
    return pictures


def write_preset(
    config: TuneConfig, search: Search, results: list[TrialResult], best: TrialResult, stage: Stage
) -> str:
    """Write the whole configuration with the winner's values; the store's name of the file."""
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
    figure = f"{search.metric} {best.validation:.4f} on the validation split"
    lines = [
        f"The best of {len(results)} trials of {search.name}, trial {best.number}.",
        f"Written by: {redacted(' '.join(['python', 'jobs/tune.py', *sys.argv[1:]]))}",
        f"Hardware: {resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs, of which a trial took "
        f"{config.train.workers * config.train.cpus_per_worker:g} CPUs. Time: {minutes:.1f} minutes of training, "
        f"{best.seconds / 60:.1f} of them the best.",
        f"Expected of {search.name}: {figure} (the values before the search: {results[0].validation or math.nan:.4f}),",
        f"with at most {epochs} epochs a stage. The test split took no part in it.",
        "Where it runs (ray, registry) is not a part of a preset.",
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
