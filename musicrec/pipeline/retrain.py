"""Run all stages in order, each skipped if its output is complete, or only the first of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from musicrec.config.jobs import Config
from musicrec.config.load import ConfigError
from musicrec.pipeline.base import Outcome, Run
from musicrec.pipeline.catalog import open_run
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.pipeline.preflight import check_names, check_relations, check_sizes, fit_to_catalog
from musicrec.pipeline.train import Trained


@dataclass(frozen=True)
class Submodels:
    """The outcomes of a run up to its submodels; ``targeted`` is the stage of their targets."""

    run: Run
    extracted: Outcome
    targeted: Outcome
    trained: Trained


@dataclass(frozen=True)
class Stacked:
    """The outcomes of a run up to its stacks.

    ``ensemble`` is for the task "embedding" only, and ``ranked`` if its ranking has other members.
    """

    submodels: Submodels
    stacks: dict[str, Outcome]
    ensemble: Outcome | None
    ranked: Outcome | None = None

    @property
    def models(self) -> dict[str, Outcome]:
        """All models by name, in the order of a results table."""
        last = {} if self.ensemble is None else {ENSEMBLE: self.ensemble}
        return {**self.submodels.trained.whole, **self.stacks, **last}


@dataclass(frozen=True)
class Evaluated:
    """The outcomes of a run up to its evaluation, and its report if it made one."""

    stacked: Stacked
    evaluated: Outcome
    reported: Outcome | None = None

    @property
    def run(self) -> Run:
        """The run itself."""
        return self.stacked.submodels.run

    @property
    def extracted(self) -> Outcome:
        """The outcome of the extraction."""
        return self.stacked.submodels.extracted

    @property
    def targeted(self) -> Outcome:
        """The outcome of the targets: artist embeddings or labels."""
        return self.stacked.submodels.targeted

    @property
    def models(self) -> dict[str, Outcome]:
        """All models by name, in the order of a results table."""
        return self.stacked.models

    @property
    def worked(self) -> bool:
        """Whether any stage had something to do."""
        stages = (
            self.extracted,
            self.targeted,
            *self.models.values(),
            self.stacked.ranked,
            self.evaluated,
            self.reported,
        )
        return self.stacked.submodels.trained.worked or any(
            outcome is not None and outcome.worked for outcome in stages
        )


def train_submodels(config: Config, names: list[str] | None = None) -> Submodels:
    """Run the stages up to the submodels, or only the named submodels."""
    check_sizes(config)
    check_names(config, names or [])
    run = open_run(config)
    check_relations(run)
    return train_run(fit_to_catalog(run), names)


def train_run(run: Run, names: list[str] | None = None) -> Submodels:
    """Do the same as ``train_submodels`` for a run whose catalog was read."""
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
    """Make the targets of the configured task; the record has their length as ``dimensions``."""
    if run.config.task == "embedding":
        from musicrec.pipeline.embed import embed

        return embed(run)
    from musicrec.pipeline.labels import label

    return label(run)


def train_stacks(config: Config) -> Stacked:
    """Run the stages up to the stacks and the ensemble."""
    return stack_submodels(train_submodels(config))


def stack_submodels(done: Submodels) -> Stacked:
    """Train the stacks and the ensemble over the submodels."""
    from musicrec.pipeline.ensemble import ensemble
    from musicrec.pipeline.ranking import rank
    from musicrec.pipeline.stack import stack

    recommends = done.run.config.task == "embedding"
    with done.run.timed("stacks"):
        stacks = stack(done.run, done.targeted, done.trained)
        if not recommends:
            return Stacked(done, stacks, None)
        recommending = ensemble(done.run, done.targeted, done.trained)
        return Stacked(done, stacks, recommending, rank(done.run, done.targeted, recommending))


def evaluate_run(config: Config) -> Evaluated:
    """Run the stages up to the evaluation and its report."""
    from musicrec.pipeline.report import report

    done = evaluate_stacked(train_stacks(config))
    return dataclasses.replace(done, reported=report(done))


def evaluate_stacked(done: Stacked) -> Evaluated:
    """Evaluate the trained models for the configured task."""
    from musicrec.pipeline.clip_statistics import statistics

    run, targeted = done.submodels.run, done.submodels.targeted
    with run.timed("evaluation"):
        summarised = statistics(run, done.submodels.extracted)
        if run.config.task == "embedding":
            from musicrec.pipeline.evaluate import evaluate

            return Evaluated(done, evaluate(run, targeted, summarised, done.models, done.ranked))
        from musicrec.pipeline.evaluate_genres import evaluate_genres

        return Evaluated(done, evaluate_genres(run, targeted, summarised, done.models))


def retrain(config: Config) -> tuple[Evaluated, Outcome]:
    """Run all stages, from a catalog to a registered recommender.

    Returns the evaluated run and the outcome of its registration.

    Raises
    ------
    ConfigError
        The configured task does not recommend, or the embeddings hold out the test artists.
    """
    if config.embed.hold_out_test_relations:
        raise ConfigError(
            "embed.hold_out_test_relations is for evaluation: a recommender would offer test "
            "artists at random; run jobs/evaluate.py, or switch it off"
        )
    if config.task != "embedding":
        raise ConfigError(
            f"task {config.task}: there is no recommender to register; a genre task ends with its "
            "results: run jobs/evaluate.py, or jobs/reproduce.py for the thesis' tables"
        )
    from musicrec.pipeline.register import register

    done = evaluate_run(config)
    with done.run.timed("registration"):
        return done, register(done.run, done.targeted, done.stacked, done.evaluated)
