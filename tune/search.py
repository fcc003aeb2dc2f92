"""Search with Ray Tune: Optuna (TPE) proposes, ASHA stops lagging trials.

Each trial is an ordinary training run (musicrec/studies/search.py). The trials are in the store, in
``searches/KEY/trials``. The key is the hash of what decides the search, so that the same command
resumes a killed search in a new run of Tune (tune/trials.py explains why). A trial that has ended
is not run again; neither is one whose training ended unnoticed: its epochs are reported from its
record.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from musicrec.config.inputs import submodels_of
from musicrec.config.jobs import TuneConfig
from musicrec.config.load import ConfigError
from musicrec.pipeline.base import REVISION, Outcome, run_stage, versions
from musicrec.pipeline.catalog import open_run
from musicrec.pipeline.extract import extract
from musicrec.pipeline.preflight import check_sizes, fit_to_catalog
from musicrec.pipeline.retrain import make_targets
from musicrec.pipeline.train import train
from musicrec.registry.training_log import training_log
from musicrec.runtime.cluster import connect
from musicrec.storage.store import Stage, fingerprint
from musicrec.studies.search import (
    Search,
    section_of,
    settings_of,
    train_trial,
    with_values,
    without_test,
)
from musicrec.telemetry.progress import Meter, event
from tune.results import (
    SearchFailed,
    TrialResult,
    best_of,
    plots,
    print_table,
    table_csv,
    write_preset,
)
from tune.spaces import Space, load_space
from tune.trials import Trials

if TYPE_CHECKING:
    from tune.callback import Progress

# A trial's process only waits for its training. It runs on the head node and uses a little of that
# node's own resource: it takes no CPU from the training runs, and is not lost with a node that may
# be removed.
HEAD = {"node:__internal_head__": 0.001}
# Optuna draws at random until this many trials have ended (its own default); fewer in a short
# search, which would otherwise have nothing to learn from.
RANDOM_TRIALS = 10


def search(config: TuneConfig) -> Outcome:
    """Search, or resume a search.

    The stage's folder gets ``preset.yaml``, ``trials.csv`` and two plots.

    Raises
    ------
    ConfigError
        The space or the model's name is wrong, or there is nothing to search.
    SearchFailed
        No trial was trained to its end.
    """
    space, own = load_space(config.space).of(config, config.submodel)
    prepared = _prepare(config)
    # The key includes the number of trials: a longer search is another one, which finds the shared
    # training runs in the store.
    key_values = (space.as_json(), own, config.trials, config.grace_epochs, config.reduction)
    stage = prepared.run.store.stage(
        "searches", fingerprint(REVISION, prepared.trial({}).stage.key, *key_values)
    )
    outcome = run_stage(
        prepared.run,
        stage,
        lambda stage: _search(config, prepared, space, own, stage),
        f"tune {config.submodel}",
    )
    print_table(prepared, outcome)
    return outcome


def _prepare(config: TuneConfig) -> Search:
    """Prepare inputs, targets, and for a stack the submodels, which every other run uses too."""
    name, section = config.submodel, section_of(config, config.submodel)
    if getattr(settings_of(config, name), "architecture", None) == "time_freq_avg":
        raise ConfigError(
            f"--submodel {name}: an average has no weights, so there is nothing to search"
        )
    check_sizes(config)
    run = fit_to_catalog(open_run(config))
    extracted, targeted = extract(run), make_targets(run)
    trained = None
    if section == "ensemble":
        trained = train(run, extracted, targeted, submodels_of(run.config.ensemble.branches))
    elif section.startswith("stacks."):
        trained = train(run, extracted, targeted, list(run.config.stacks[name].submodels))
    if config.trial_epochs is not None:
        run = dataclasses.replace(
            run, config=with_values(run.config, name, {"maximum_epochs": config.trial_epochs})
        )
    return Search(without_test(run), name, extracted, targeted, trained)


def _search(
    config: TuneConfig, prepared: Search, space: Space, own: dict[str, Any], stage: Stage
) -> dict[str, Any]:
    run = prepared.run
    connect(config.ray)
    from tune.callback import Progress  # imports Ray, which reads the settings made by connect

    facts = {f"version.{name}": version for name, version in versions().items()}
    logged = training_log(
        config,
        run.store,
        run.catalog_key,
        run.catalog.root,
        facts,
        f"tune {config.submodel}",
        stage.key,
    )
    with logged as log, Meter("tune", config.trials, "trials") as meter:
        progress = Progress(prepared, Trials(stage), log, meter)
        results = _run_trials(config, space, own, progress)
        best = best_of(prepared, results)
        run.store.write(stage.path("trials.csv"), table_csv(results).encode())
        log.text("trials.csv", table_csv(results))
        for name, (figure, image) in plots(prepared, space, results).items():
            run.store.write(stage.path(name), image)
            log.log_plot(name, figure)
        preset = write_preset(config, prepared, results, best, stage)
        log.text("preset.yaml", run.store.read(preset).decode())
    return {
        "trials": len(results),
        "trained": sum(result.state == "trained" for result in results),
        "stopped": sum(result.state == "stopped" for result in results),
        "failed": sum(result.state == "failed" for result in results),
        "best": best.number,
        "metric": prepared.metric,
        "validation": best.validation,
        "own_validation": results[0].validation,
        "preset": run.store.uri(preset),
        "rows": [dataclasses.asdict(result) for result in results],
    }


def _run_trials(
    config: TuneConfig, space: Space, own: dict[str, Any], progress: Progress
) -> list[TrialResult]:
    """Run the trials that have not ended; return all results in the order of proposal."""
    trials = progress.trials
    if trials.drawn:
        event("tune", "resuming after an interruption", ended=len(trials.ended))
    else:
        trials.propose(1, own)
    for _, result in sorted(trials.ended.items()):
        progress.ended(result)
    if len(trials.ended) < config.trials:
        _run_in_tune(config, space, progress)
    if len(trials.ended) < config.trials:
        raise SearchFailed(
            f"{config.trials - len(trials.ended)} trials have not ended; run the same command again"
        )
    return [result for _, result in sorted(trials.ended.items())]


def _run_in_tune(config: TuneConfig, space: Space, progress: Progress) -> None:
    # The training runs keep their own records; the output comes from TuneCallback.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    from ray import tune

    from tune.callback import TuneCallback
    from tune.proposals import Proposals

    _silence()
    prepared, trials = progress.search, progress.trials
    settings = settings_of(prepared.run.config, config.submodel)
    filesystem, folder = prepared.run.store.locate(trials.stage.folder)
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(train_trial, search=prepared, report=tune.report), HEAD
        ),
        tune_config=tune.TuneConfig(
            metric="validation",
            mode="max" if prepared.better > 0 else "min",
            search_alg=Proposals(
                trials,
                config.trials,
                space,
                prepared.better,
                config.seed,
                min(RANDOM_TRIALS, 1 + config.trials // 3),
            ),
            scheduler=_scheduler(config, settings.maximum_epochs * len(settings.learning_rates)),
            num_samples=config.trials - len(trials.ended),
            max_concurrent_trials=config.concurrent,
            trial_dirname_creator=lambda trial: f"trial_{trial.config['number']}",
        ),
        # Nothing of what Tune writes there is read.
        run_config=tune.RunConfig(
            name="tune",
            storage_path=folder,
            storage_filesystem=filesystem,
            callbacks=[TuneCallback()],
            verbose=0,
        ),
    )
    TuneCallback.progress = progress
    try:
        tuner.fit()
    finally:
        TuneCallback.progress = None


def _scheduler(config: TuneConfig, epochs: int) -> Any:
    """Return the scheduler that stops lagging trials.

    No trial is stopped at its last epoch, when only its predictions and record are left to write.
    """
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

    if config.grace_epochs >= epochs:
        return FIFOScheduler()
    return ASHAScheduler(
        time_attr="epoch",
        max_t=epochs - 1,
        grace_period=config.grace_epochs,
        reduction_factor=config.reduction,
        stop_last_trials=False,
    )


def _silence() -> None:
    import logging
    import warnings

    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
