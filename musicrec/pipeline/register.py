"""Register a run: its history and model in MLflow, and the choice of the version that serves."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from musicrec.config.load import resolved
from musicrec.config.sections import RegistrySettings
from musicrec.pipeline.assemble import write_recommender
from musicrec.pipeline.base import REVISION, Outcome, Run, run_stage
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.pipeline.evaluate import RESULTS, served_results
from musicrec.pipeline.promote import challenger, promote
from musicrec.pipeline.retrain import Stacked
from musicrec.registry.deferred import send_unsent
from musicrec.registry.digests import write_digests
from musicrec.registry.outages import until_reachable
from musicrec.registry.training_log import run_key
from musicrec.registry.versions import find_version, version_tags
from musicrec.storage.store import Stage, fingerprint
from musicrec.telemetry.progress import event
from musicrec.telemetry.redact import redacted
from musicrec.telemetry.tables import markdown_table

DECISION_TAG = "musicrec.decision"
EVIDENCE = "promotion.json"  # among the run's artifacts


def register(run: Run, embedded: Outcome, stacked: Stacked, evaluated: Outcome) -> Outcome:
    """Log the run and its training runs to MLflow, register the model, and set its alias."""
    stage = run.store.stage(
        "registered", fingerprint(REVISION, evaluated.stage.key, key_settings(run.config.registry))
    )

    def work(stage: Stage) -> dict[str, Any]:
        return until_reachable(
            lambda: _log_and_promote(run, embedded, stacked, evaluated), "register"
        )

    return run_stage(run, stage, work)


def key_settings(settings: RegistrySettings) -> dict[str, Any]:
    """Return the registry's settings as part of a key.

    A setting that came later is left out while it has its default, so that the registrations of
    older stores keep their keys.
    """
    values = dict(vars(settings))
    defaults = RegistrySettings()
    for name in ("require_baseline", "margin"):
        if values[name] == getattr(defaults, name):
            del values[name]
    return values


def _log_and_promote(
    run: Run, embedded: Outcome, stacked: Stacked, evaluated: Outcome
) -> dict[str, Any]:
    from musicrec.registry import runs as tracking

    extracted = stacked.submodels.extracted
    experiment = tracking.connect(run.config.registry, run.store)
    import mlflow

    send_unsent()
    results = run.store.read_json(evaluated.stage.path(RESULTS))
    key, client = run_key(run.config, run.catalog_key), mlflow.MlflowClient()
    with tracking.tracked(experiment, "musicrec", key) as parent:
        run_id = parent.info.run_id
        tracking.log_parameters(resolved(run.config))
        mlflow.log_metrics(
            {f"test_{name}": value for name, value in _metrics(served_results(results)).items()}
        )
        mlflow.log_metrics(
            {
                "artist_jaccard": embedded.record["jaccard"],
                **_held_out_metrics(embedded.record.get("held_out")),
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
        version = _version(run, embedded, stacked, run_id)
        decision = promote(
            run,
            extracted,
            challenger(
                run, version, extracted, embedded, stacked.ensemble, results, stacked.ranked
            ),
        )
        mlflow.log_metrics(decision.metrics())
        mlflow.log_dict(decision.evidence(), EVIDENCE)
        client.set_model_version_tag(
            run.config.registry.model, version, DECISION_TAG, decision.sentence()
        )
        mlflow.set_tags(
            {
                DECISION_TAG: decision.sentence(),
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


def _version(run: Run, embedded: Outcome, stacked: Stacked, run_id: str) -> int:
    """Return the version of the run's recommender, registered now unless it already is.

    A job that stopped between the registration and the alias has left the version.
    """
    from musicrec.registry.package import log_version

    model = run.config.registry.model
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "recommender"
        spec = write_recommender(
            folder, run, embedded, stacked.models, stacked.ensemble, stacked.ranked
        )
        tags = version_tags(
            made_from(run, embedded, stacked, spec.submodels()), write_digests(folder)
        )
        existing = find_version(model, run_id, folder, tags)
        return existing or log_version(folder, model, spec.outputs, tags)


def made_from(
    run: Run, embedded: Outcome, stacked: Stacked, submodels: Iterable[str]
) -> dict[str, Any]:
    """Return the keys and settings that decide a version's weights and how it is served."""
    ranked = {} if stacked.ranked is None else {"ranking": stacked.ranked.stage.key}
    return ranked | {
        "catalog": run.catalog_key,
        "embeddings": embedded.stage.key,
        "models": {name: stacked.models[name].stage.key for name in (*submodels, ENSEMBLE)},
        "chroma": run.config.extract.chroma,
        "segments": run.config.registry.segments,
        "model": run.config.registry.model,
    }


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


def _held_out_metrics(facts: dict[str, Any] | None) -> dict[str, float]:
    """Return the NDCG of relations held out of the embeddings, and of the best baseline."""
    if facts is None:
        return {}
    return {
        "artist_held_out_ndcg": facts["ndcg"],
        "artist_held_out_baseline": max(facts["baselines"].values()),
    }


def _metrics(results: dict[str, Any]) -> dict[str, float]:
    """Return the finite numbers of a result, under names that MLflow accepts."""
    return {
        name.replace("@", "_at_"): value
        for name, value in results.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
