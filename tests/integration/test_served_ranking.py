"""The ranking that is evaluated is the one that is registered, loaded and served."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from small_run import Retrained

from musicrec.artists.ranking import FILES, WEIGHTS_FILE
from musicrec.config.sections import RankingSettings
from musicrec.pipeline.assemble import write_recommender
from musicrec.pipeline.base import Run
from musicrec.pipeline.evaluate import RANKED, RESULTS
from musicrec.pipeline.promote import challenger, score_recommender
from musicrec.pipeline.ranking import rank, read_ranking
from musicrec.pipeline.retrain import Evaluated, evaluate_stacked, retrain, stack_submodels
from musicrec.registry.training_log import run_key
from musicrec.serving.recommender import Recommender
from musicrec.storage.record import DamagedError

# The first test of a session waits for the retrain that all tests use.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def ranked(retrained: Retrained) -> Evaluated:
    """Return the retrained run evaluated with other members of the ranking; nothing is trained."""
    settings = RankingSettings(members=("votes", "popularity"), neighbours=3)
    submodels = retrained.done.stacked.submodels
    run = dataclasses.replace(
        submodels.run, config=dataclasses.replace(retrained.config, ranking=settings)
    )
    return evaluate_stacked(stack_submodels(dataclasses.replace(submodels, run=run)))


def folder_of(ranked: Evaluated, folder: Path) -> Path:
    stacked = ranked.stacked
    write_recommender(
        folder, ranked.run, ranked.targeted, stacked.models, stacked.ensemble, stacked.ranked
    )
    return folder


def scores(run: Run, ranked: Evaluated, recommender: Recommender) -> dict[str, float]:
    ids = recommender.artists.column("artist_id").to_pylist()
    return score_recommender(run, ranked.extracted, recommender, "ranked", ids)


def test_models_train_no_more_and_results_have_both_rankings(
    ranked: Evaluated, retrained: Retrained
) -> None:
    assert not ranked.stacked.ensemble.worked
    results = ranked.run.store.read_json(ranked.evaluated.stage.path(RESULTS))
    before = retrained.done.run.store.read_json(retrained.done.evaluated.stage.path(RESULTS))
    assert RANKED not in before
    assert results["recommendation"] == before["recommendation"]
    assert results[RANKED]["artists"] == results["recommendation"]["artists"]


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_ranking_is_named_and_made_again(name: str, ranked: Evaluated) -> None:
    run, outcome = ranked.run, ranked.stacked.ranked
    path = outcome.stage.path(name)
    whole = run.store.read(path)
    damaged = bytearray(whole)
    damaged[-3] ^= 1
    run.store.write(path, bytes(damaged))
    with pytest.raises(DamagedError, match=name):
        read_ranking(run, outcome)
    again = rank(run, ranked.targeted, ranked.stacked.ensemble)
    assert again.worked
    assert run.store.read(path) == whole


def test_the_served_ranking_scores_as_it_was_evaluated(ranked: Evaluated, tmp_path: Path) -> None:
    run, record = ranked.run, ranked.stacked.ranked.record
    assert read_ranking(run, ranked.stacked.ranked).weights == record["weights"]
    recommender = Recommender.load(folder_of(ranked, tmp_path / "recommender"))
    assert recommender.ranking.weights == record["weights"]
    results = run.store.read_json(ranked.evaluated.stage.path(RESULTS))
    served = scores(run, ranked, recommender)
    assert served["ndcg@5"] == pytest.approx(results[RANKED]["ndcg@5"], abs=1e-6)
    own = challenger(
        run,
        1,
        ranked.extracted,
        ranked.targeted,
        ranked.stacked.ensemble,
        results,
        ranked.stacked.ranked,
    )
    assert own.score(own.artists)["ndcg@5"] == pytest.approx(served["ndcg@5"], abs=1e-6)


def test_weights_decide_what_is_served_and_an_older_folder_ranks_by_cosine(
    ranked: Evaluated, tmp_path: Path
) -> None:
    folder = folder_of(ranked, tmp_path / "recommender")
    facts = json.loads((folder / WEIGHTS_FILE).read_text())
    facts["weights"] = {"votes": 0.0, "popularity": 1000.0}
    (folder / WEIGHTS_FILE).write_text(json.dumps(facts))
    recommender = Recommender.load(folder)
    vectors = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    popular = recommender.nearest_many(vectors, 1)
    assert len(set(popular.rows[:, 0].tolist())) == 1
    assert (popular.prior > 0.9).all()
    named = np.asarray(recommender.ranking.relations.sum(axis=0)).ravel()
    assert named[popular.rows[0, 0]] == named.max()
    description = recommender.describe(recommender.nearest(vectors[0], 1))
    assert description[0]["prior"] == pytest.approx(popular.prior[0, 0])
    (folder / WEIGHTS_FILE).unlink()
    older = Recommender.load(folder)
    assert older.ranking is None
    cosine = older.nearest_many(vectors, 3)
    off = recommender.nearest_many(vectors, 3, popularity=False)
    np.testing.assert_array_equal(cosine.rows, off.rows)
    assert not cosine.prior.any()


def test_a_job_with_other_members_registers_a_version_of_its_own(
    ranked: Evaluated, retrained: Retrained
) -> None:
    done, registered = retrain(ranked.run.config)
    assert registered.record["version"] != retrained.registered.record["version"]
    assert not done.stacked.ensemble.worked
    assert not done.stacked.ranked.worked


def test_without_members_nothing_is_written_and_keys_stay(retrained: Retrained) -> None:
    done = retrained.done
    assert rank(done.run, done.targeted, done.stacked.ensemble) is None
    assert done.stacked.ranked is None
    config, key = retrained.config, done.run.catalog_key
    assert run_key(config, key) != run_key(
        dataclasses.replace(config, ranking=RankingSettings(members=("votes",))), key
    )
