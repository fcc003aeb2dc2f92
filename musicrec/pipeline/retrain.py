"""All stages in their order, each skipped where its output is complete; and the runs that end earlier."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from musicrec.config.jobs import Config
from musicrec.config.load import ConfigError
from musicrec.pipeline.base import Outcome, Run
from musicrec.pipeline.catalog import open_run
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.pipeline.preflight import check_names, check_sizes, fit_to_catalog
from musicrec.pipeline.train import Trained


@dataclass(frozen=True)
class Submodels:
    """The outcomes of a run up to its submodels; ``targeted`` is the stage of what they predict."""

    run: Run
    extracted: Outcome
    targeted: Outcome
    trained: Trained


@dataclass(frozen=True)
class Stacked:
    """The outcomes of a run up to its stacks; ``ensemble`` is the recommendation of the task "embedding"."""

    submodels: Submodels
    stacks: dict[str, Outcome]
    ensemble: Outcome | None

    @property
    def models(self) -> dict[str, Outcome]:
        """Everything that predicts, by name, in the order of a results table."""
        last = {} if self.ensemble is None else {ENSEMBLE: self.ensemble}
        return {**self.submodels.trained.whole, **self.stacks, **last}


@dataclass(frozen=True)
class Evaluated:
    """The outcomes of a run up to its evaluation, and its report where one was asked for."""

    stacked: Stacked
    evaluated: Outcome
    reported: Outcome | None = None

    @property
    def run(self) -> Run:
        return self.stacked.submodels.run

    @property
    def extracted(self) -> Outcome:
        return self.stacked.submodels.extracted

    @property
    def targeted(self) -> Outcome:
        return self.stacked.submodels.targeted

    @property
    def models(self) -> dict[str, Outcome]:
        return self.stacked.models

    @property
    def worked(self) -> bool:
        """Whether any stage had something to do."""
        stages = (
            self.extracted,
            self.targeted,
            *self.models.values(),
            self.evaluated,
            self.reported,
        )
        return self.stacked.submodels.trained.worked or any(
            outcome is not None and outcome.worked for outcome in stages
        )


def train_submodels(config: Config, names: list[str] | None = None) -> Submodels:
    """Up to the submodels, or those that are named."""
    check_sizes(config)
    check_names(config, names or [])
    return train_run(fit_to_catalog(open_run(config)), names)


def train_run(run: Run, names: list[str] | None = None) -> Submodels:
    """As ``train_submodels``, of a run whose catalog was read."""
    from musicrec.pipeline.extract import extract
    from musicrec.pipeline.train import train

    with run.timed("extraction"):
        extracted = extract(run)
    with run.timed("targets"):
        targeted = make_targets(run)
    with run.timed("submodels"):
        trained = train(run, extracted, targeted, names or None)
    return Submodels(run, extracted, targeted, trained)


def make_targets(run: Run) -> Outcome:
    """What the models of the configured task predict; the stage's record has ``dimensions``, the length of their outputs."""
    if run.config.task == "embedding":
        from musicrec.pipeline.embed import embed

        return embed(run)
    from musicrec.pipeline.labels import label

    return label(run)


def train_stacks(config: Config) -> Stacked:
    """Up to the stacks and the ensemble."""
    return stack_submodels(train_submodels(config))


def stack_submodels(done: Submodels) -> Stacked:
    """The stacks and the ensemble over the submodels."""
    from musicrec.pipeline.ensemble import ensemble
    from musicrec.pipeline.stack import stack

    recommends = done.run.config.task == "embedding"
    with done.run.timed("stacks"):
        stacks = stack(done.run, done.targeted, done.trained)
        return Stacked(
            done, stacks, ensemble(done.run, done.targeted, done.trained) if recommends else None
        )


def evaluate_run(config: Config) -> Evaluated:
    """Up to the evaluation and its report."""
    from musicrec.pipeline.report import report

    done = evaluate_stacked(train_stacks(config))
    return dataclasses.replace(done, reported=report(done))


def evaluate_stacked(done: Stacked) -> Evaluated:
    """The evaluation of what was trained, in the way of its task."""
    from musicrec.pipeline.clip_statistics import statistics

    run, targeted = done.submodels.run, done.submodels.targeted
    with run.timed("evaluation"):
        summarised = statistics(run, done.submodels.extracted)
        if run.config.task == "embedding":
            from musicrec.pipeline.evaluate import evaluate

            return Evaluated(done, evaluate(run, targeted, summarised, done.models))
        from musicrec.pipeline.evaluate_genres import evaluate_genres

        return Evaluated(done, evaluate_genres(run, targeted, summarised, done.models))


def retrain(config: Config) -> tuple[Evaluated, Outcome]:
    """From a catalog to a registered recommender: the run, and its registration.

    Raises
    ------
    ConfigError
        The configured task recommends nothing, or the test artists would have no place among the embeddings.
    """
    if config.embed.hold_out_test_relations:
        raise ConfigError(
            "embed.hold_out_test_relations is for evaluation: a recommender would offer test artists at random; run jobs/evaluate.py, "
            "or switch it off"
        )
    if config.task != "embedding":
        raise ConfigError(
            f"task {config.task}: there is no recommender to register; a genre task ends with its results: run jobs/evaluate.py, "
            "or jobs/reproduce.py for the thesis' tables"
        )
    from musicrec.pipeline.register import register

    done = evaluate_run(config)
    with done.run.timed("registration"):
        return done, register(done.run, done.targeted, done.stacked, done.evaluated)
