"""All stages in their order, each skipped where its output is complete; and the runs that end earlier."""

from __future__ import annotations

from dataclasses import dataclass

from musicrec.settings import Config
from musicrec.stages.base import Outcome, Run
from musicrec.stages.catalog import open_run
from musicrec.stages.inputs import check_sizes, fit_to_catalog


@dataclass(frozen=True)
class Evaluated:
    """The outcomes of a run up to its evaluation."""

    run: Run
    extracted: Outcome
    embedded: Outcome
    trained: dict[str, Outcome]
    stacked: Outcome
    evaluated: Outcome

    @property
    def worked(self) -> bool:
        """Whether any stage had something to do."""
        stages = (self.extracted, self.embedded, *self.trained.values(), self.stacked, self.evaluated)
        return any(outcome.worked for outcome in stages)


def train_submodels(config: Config, names: list[str] | None = None) -> tuple[Run, Outcome, Outcome, dict[str, Outcome]]:
    """Up to the submodels, or those that are named."""
    from musicrec.stages.embed import embed
    from musicrec.stages.extract import extract
    from musicrec.stages.train import train

    check_sizes(config)
    run = fit_to_catalog(open_run(config))
    extracted, embedded = extract(run), embed(run)
    return run, extracted, embedded, train(run, extracted, embedded, names or None)


def train_ensemble(config: Config) -> tuple[Run, Outcome, Outcome, dict[str, Outcome], Outcome]:
    """Up to the ensemble."""
    from musicrec.stages.ensemble import ensemble

    run, extracted, embedded, trained = train_submodels(config)
    return run, extracted, embedded, trained, ensemble(run, embedded, trained)


def evaluate_run(config: Config) -> Evaluated:
    """Up to the evaluation."""
    from musicrec.stages.evaluate import evaluate

    run, extracted, embedded, trained, stacked = train_ensemble(config)
    return Evaluated(run, extracted, embedded, trained, stacked, evaluate(run, embedded, trained, stacked))


def retrain(config: Config) -> tuple[Evaluated, Outcome]:
    """From a catalog to a registered recommender: the run, and its registration."""
    from musicrec.stages.register import register

    done = evaluate_run(config)
    return done, register(done.run, done.embedded, done.trained, done.stacked, done.evaluated)
