"""Registration: the run's history and model in MLflow, and the decision which version serves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from musicrec import schema
from musicrec.config.load import resolved
from musicrec.pipeline.base import REVISION, Outcome, Run, run_stage
from musicrec.pipeline.embed import TABLE
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.pipeline.evaluate import RESULTS, TestSplit
from musicrec.pipeline.retrain import Stacked
from musicrec.pipeline.score_served import embed_tracks
from musicrec.registry.training_log import run_key
from musicrec.storage.store import Stage, fingerprint
from musicrec.telemetry.progress import event
from musicrec.telemetry.redact import redacted
from musicrec.training.predictions import read_predictions

if TYPE_CHECKING:
    from musicrec.registry.promotion import Challenger


def register(run: Run, embedded: Outcome, stacked: Stacked, evaluated: Outcome) -> Outcome:
    """Log the run and its trainings to MLflow, register the model, and set its alias."""
    stage = run.store.stage(
        "registered", fingerprint(REVISION, evaluated.stage.key, vars(run.config.registry))
    )
    return run_stage(run, stage, lambda stage: _work(run, stage, embedded, stacked, evaluated))


def _work(
    run: Run, stage: Stage, embedded: Outcome, stacked: Stacked, evaluated: Outcome
) -> dict[str, Any]:
    from musicrec.registry import runs as tracking

    extracted, experiment = (
        stacked.submodels.extracted,
        tracking.connect(run.config.registry, run.store),
    )
    import mlflow

    from musicrec.registry.package import log_version
    from musicrec.registry.promotion import decide

    results = run.store.read_json(evaluated.stage.path(RESULTS))
    key, client = run_key(run.config, run.catalog_key), mlflow.MlflowClient()
    with tracking.tracked(experiment, "musicrec", key) as parent:
        run_id = parent.info.run_id
        tracking.log_parameters(resolved(run.config))
        mlflow.log_metrics(
            {f"test_{name}": value for name, value in _metrics(results[ENSEMBLE]).items()}
        )
        mlflow.log_metrics(
            {
                "artist_jaccard": embedded.record["jaccard"],
                **changes(extracted.record, embedded.record),
            }
        )
        mlflow.log_metrics({f"seconds_{step}": value for step, value in run.seconds.items()})
        mlflow.log_dict(results, RESULTS)
        for name, outcome in stacked.models.items():
            with tracking.tracked(
                experiment, name, f"{key}-{outcome.stage.key}", parent=run_id
            ) as child:
                config = run.store.read_json(outcome.stage.path("config.json"))
                tracking.log_parameters(
                    {**config["models"], **config["stacks"], ENSEMBLE: config["ensemble"]}[name]
                )
                tracking.log_history(
                    client, child.info.run_id, outcome.record["history"], outcome.record["metric"]
                )
                mlflow.log_metrics(
                    {f"test_{metric}": value for metric, value in _metrics(results[name]).items()}
                )
        versions = client.search_model_versions(f"run_id = '{run_id}'")
        if not versions:
            log_version(run, embedded, stacked)
            versions = client.search_model_versions(f"run_id = '{run_id}'")
        decision = decide(
            run,
            extracted,
            challenger(run, int(versions[0].version), extracted, embedded, stacked.ensemble),
        )
        mlflow.log_metrics(decision.metrics())
        mlflow.set_tags(
            {
                "musicrec.decision": decision.sentence(),
                "mlflow.note.content": _note(results, decision.sentence()),
            }
        )
    event("register", decision.sentence())
    return {
        "rows_in": 1,
        "rows_out": 1,
        "rows_in_errors": 0,
        "model": run.config.registry.model,
        "version": decision.version,
        "alias": decision.alias,
        "decision": decision.sentence(),
        "tracking_uri": redacted(mlflow.get_tracking_uri()),
        "run_id": run_id,
    }


def challenger(
    run: Run, version: int, extracted: Outcome, embedded: Outcome, ensemble: Outcome
) -> Challenger:
    """A new version as it is compared: from its stored predictions of the test tracks, or as it is served where it hears more of them."""
    from musicrec.registry.promotion import Challenger, load_version, retrieval_scores

    split = TestSplit(run, run.store.read_table(embedded.stage.path(TABLE), schema.EMBEDDINGS))
    answers = ensemble
    if run.config.registry.segments > 1:
        answers = embed_tracks(
            run, extracted, *load_version(run.config.registry.model, version), split.tracks
        )
    predicted = read_predictions(
        run.store, answers.record["predictions"], split.tracks, split.table.shape[1]
    )
    known = np.flatnonzero(np.any(predicted != 0, axis=1))
    queries = dict(zip(*split.by_artist(predicted, known), strict=True)) if len(known) else {}
    return Challenger(
        version,
        split.ids,
        lambda candidates: retrieval_scores(run, queries, split.ids, split.table, set(candidates)),
    )


def changes(extracted: dict[str, Any], embedded: dict[str, Any]) -> dict[str, float]:
    """What a run's records say of how its catalog differs from the last one, and of the known artists' drift; numbers by name."""
    names = ("tracks_new", "tracks_changed", "tracks_removed", "rows_extracted_now")
    drift = ("artists_new", "mean_cosine_to_before", "least_cosine_to_before")
    found = {name: extracted.get(name) for name in names} | {
        name: embedded.get(name) for name in drift
    }
    return {name: value for name, value in found.items() if value is not None}


def _note(results: dict[str, Any], decision: str) -> str:
    """What the run's page says first: the decision, and the test scores of every model and baseline (Markdown)."""
    names = [name for name in results[ENSEMBLE] if name.startswith(("ndcg", "recall"))]
    lines = [
        decision,
        "",
        "| model | test cosine | " + " | ".join(names) + " |",
        "|---" * (2 + len(names)) + "|",
    ]
    for model, scores in results.items():
        figures = [scores.get(name) for name in ("cosine", *names)]
        lines.append(
            f"| {model} | "
            + " | ".join("" if value is None else f"{value:.3f}" for value in figures)
            + " |"
        )
    return "\n".join(lines)


def _metrics(results: dict[str, Any]) -> dict[str, float]:
    """The numbers of a result, under names that MLflow takes."""
    return {
        name.replace("@", "_at_"): value
        for name, value in results.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
