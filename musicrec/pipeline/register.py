"""Register a run: its history and model in MLflow, and the choice of the version that serves."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

from musicrec.config.load import resolved
from musicrec.pipeline.assemble import write_recommender
from musicrec.pipeline.base import REVISION, Outcome, Run, run_stage
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.pipeline.evaluate import RESULTS
from musicrec.pipeline.promote import challenger, promote
from musicrec.pipeline.retrain import Stacked
from musicrec.registry.training_log import run_key
from musicrec.storage.store import fingerprint
from musicrec.telemetry.progress import event
from musicrec.telemetry.redact import redacted
from musicrec.telemetry.tables import markdown_table


def register(run: Run, embedded: Outcome, stacked: Stacked, evaluated: Outcome) -> Outcome:
    """Log the run and its training runs to MLflow, register the model, and set its alias."""
    stage = run.store.stage(
        "registered", fingerprint(REVISION, evaluated.stage.key, vars(run.config.registry))
    )
    return run_stage(run, stage, lambda stage: _log_and_promote(run, embedded, stacked, evaluated))


def _log_and_promote(
    run: Run, embedded: Outcome, stacked: Stacked, evaluated: Outcome
) -> dict[str, Any]:
    from musicrec.registry import runs as tracking

    extracted = stacked.submodels.extracted
    experiment = tracking.connect(run.config.registry, run.store)
    import mlflow

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
        # A job that stopped between the registration and the alias has left a version of this run.
        versions = client.search_model_versions(f"run_id = '{run_id}'")
        if not versions:
            _log_model(run, embedded, stacked)
            versions = client.search_model_versions(f"run_id = '{run_id}'")
        version = int(versions[0].version)
        decision = promote(
            run, extracted, challenger(run, version, extracted, embedded, stacked.ensemble)
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


def _log_model(run: Run, embedded: Outcome, stacked: Stacked) -> None:
    """Log the run's recommender to the active MLflow run, and register it."""
    from musicrec.registry.package import log_version

    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "recommender"
        spec = write_recommender(folder, run, embedded, stacked.models, stacked.ensemble)
        log_version(folder, run.config.registry.model, spec.outputs)


def changes(extracted: dict[str, Any], embedded: dict[str, Any]) -> dict[str, float]:
    """Return how the catalog differs from the last run's, and how far its artists moved.

    The numbers come from the records of the extraction and the embeddings; one that a record does
    not have is left out.
    """
    counts = ("tracks_new", "tracks_changed", "tracks_removed", "rows_extracted_now")
    drift = ("artists_new", "mean_cosine_to_before", "least_cosine_to_before")
    values = {name: extracted.get(name) for name in counts}
    values |= {name: embedded.get(name) for name in drift}
    return {name: value for name, value in values.items() if value is not None}


def _note(results: dict[str, Any], decision: str) -> str:
    """Return the note of the run's page as Markdown: the decision, and a table of test scores."""
    names = [name for name in results[ENSEMBLE] if name.startswith(("ndcg", "recall"))]
    rows = []
    for model, scores in results.items():
        values = [scores.get(name) for name in ("cosine", *names)]
        rows.append([model, *("" if value is None else f"{value:.3f}" for value in values)])
    return f"{decision}\n\n{markdown_table(('model', 'test cosine', *names), rows)}"


def _metrics(results: dict[str, Any]) -> dict[str, float]:
    """Return the finite numbers of a result, under names that MLflow accepts."""
    return {
        name.replace("@", "_at_"): value
        for name, value in results.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
