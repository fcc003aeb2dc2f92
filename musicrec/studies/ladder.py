"""Score what each part of a recommender brings on a catalog, over artist splits with paired scores.

The rungs go from chance over baselines without training and the thesis' rules to the configuration
itself. Each is compared with the best of the rungs before it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from musicrec import schema
from musicrec.artists.ranking import POPULARITY, VOTES, Ranking
from musicrec.config.inputs import INPUTS, RECORDING, THESIS_BRANCHES, submodels_of
from musicrec.config.jobs import Config, ScoreConfig
from musicrec.config.load import ConfigError, read_text
from musicrec.evaluation.retrieval import evaluate_rankings
from musicrec.pipeline.base import Run
from musicrec.pipeline.clip_statistics import read_statistics, statistics
from musicrec.pipeline.embed import TABLE, relations_without
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.pipeline.evaluate import RANKED, RESULTS, TestSplit
from musicrec.pipeline.ranking import relations_among
from musicrec.pipeline.retrain import Evaluated, evaluate_stacked, train_stacks
from musicrec.storage.store import Store, fingerprint
from musicrec.studies.ablation import read_study, with_overrides
from musicrec.studies.ladder_table import Rung, to_csv, to_markdown
from musicrec.telemetry.log import console
from musicrec.telemetry.progress import event

CHANCE, NEIGHBOURS = "chance (exact)", "nearest neighbours on statistics"
THESIS, OWN = "ensemble by the thesis' rules, audio only", "ensemble"


def score(config: ScoreConfig) -> str:
    """Run what is missing with every seed, and return the URI of the table (Markdown).

    A CSV with the scores of every rung, seed and test artist is next to it.

    Raises
    ------
    ConfigError
        The task has no artists to retrieve, or the configuration has no audio branch.
    """
    if config.task != "embedding":
        raise ConfigError(f"task {config.task}: only the task embedding ranks artists")
    rules = thesis_rules(config)
    rungs: dict[str, dict[int, Mapping[str, float]]] = {}
    keys = []
    for seed in config.seeds:
        own, thesis = (
            evaluate_stacked(train_stacks(dataclasses.replace(each, seed=seed)))
            for each in (config, rules)
        )
        for name, scores in _by_artist(own, thesis).items():
            rungs.setdefault(name, {})[seed] = scores
        keys += [own.evaluated.stage.key, thesis.evaluated.stage.key]
        event("score", "seed done", seed=seed, rungs=len(rungs))
    ladder = [Rung(name, seeds) for name, seeds in rungs.items()]
    store, name = Store(config.store), f"tables/ladder-{fingerprint(keys)}"
    markdown = to_markdown(ladder, config.evaluate.neighbours[0])
    store.write(f"{name}.md", markdown.encode())
    store.write(f"{name}.csv", to_csv(ladder).encode())
    console.print(markdown, highlight=False, soft_wrap=True)
    event("score", "written", markdown=store.uri(f"{name}.md"), csv=store.uri(f"{name}.csv"))
    return store.uri(f"{name}.md")


def thesis_rules(config: ScoreConfig) -> Config:
    """Return the configuration under the thesis' rules, at its own sizes, with the audio only.

    The rules are the base of the study ``config.study``. A thesis ensemble needs every input of
    every track, and a catalog may have audio only (Whitell 2019, Table 6, "AudioOnly").
    """
    branches = [
        branch
        for branch in config.ensemble.branches
        if branch in THESIS_BRANCHES
        and INPUTS[branch].fields == (RECORDING,)
        and set(INPUTS[branch].submodels) <= set(config.models)
    ]
    if not branches:
        raise ConfigError("the configuration has no audio branch to score (ensemble.branches)")
    study = read_study(read_text("--study", config.study), config.study)
    rules = with_overrides(
        config, {**study.base.change, "ensemble.branches": branches}, config.study
    )
    models = {name: rules.models[name] for name in submodels_of(branches)}
    return dataclasses.replace(rules, models=models)


def _by_artist(own: Evaluated, thesis: Evaluated) -> dict[str, Mapping[str, float]]:
    """Return each rung's NDCG by test artist, in the order of the ladder."""
    results, of_thesis = (
        done.run.store.read_json(done.evaluated.stage.path(RESULTS)) for done in (own, thesis)
    )
    run = own.run
    split = TestSplit(run, run.store.read_table(own.targeted.stage.path(TABLE), schema.EMBEDDINGS))
    k = run.config.evaluate.neighbours[0]
    artists = list(dict.fromkeys(split.artist_of))
    chance = split.candidates.retrieve(None, artists, split.related, (k,)).chance
    rungs = {
        CHANCE: dict(zip(artists, chance.ndcg[k].tolist(), strict=True)),
        "popularity": results["popularity"]["by_artist"],
        "ridge on statistics": results["ridge"].get("by_artist", {}),
        NEIGHBOURS: neighbours_scores(run, own, split, k),
        THESIS: of_thesis[ENSEMBLE].get("by_artist", {}),
        OWN: results[ENSEMBLE].get("by_artist", {}),
    }
    if RANKED in results:
        rungs[RANKED] = results[RANKED].get("by_artist", {})
    return rungs


def neighbours_scores(run: Run, done: Evaluated, split: TestSplit, k: int) -> dict[str, float]:
    """Return each test artist's NDCG where the nearest training tracks vote for related artists.

    The nearest tracks are those of the largest cosine between standardised clip statistics. They
    vote for their artists and those that these name, relations with test artists left out.
    """
    summarised = statistics(run, done.extracted)
    train, test = (
        read_statistics(run, summarised, tracks) for tracks in (split.train_tracks, split.tracks)
    )
    known, scored = ~np.isnan(train).any(axis=1), ~np.isnan(test).any(axis=1)
    if not known.any() or not scored.any():
        return {}
    mean, deviation = train[known].mean(axis=0), train[known].std(axis=0)
    deviation[deviation == 0] = 1
    row_of = {artist: row for row, artist in enumerate(split.ids)}
    remaining = relations_without(run.catalog.related, set(split.artist_of))
    voters = np.flatnonzero(known & np.isin(split.train_artists, split.ids))
    ranking = Ranking(
        {VOTES: 1.0, POPULARITY: 0.0},
        run.config.ranking.neighbours,
        ((train[voters] - mean) / deviation).astype(np.float32),
        np.array([row_of[artist] for artist in split.train_artists[voters]], np.int64),
        relations_among(remaining, split.ids),
    )
    votes = ranking.votes(((test[scored] - mean) / deviation).astype(np.float32))
    owners = np.array(split.artist_of)[scored]
    artists = list(dict.fromkeys(owners.tolist()))
    totals = np.stack([votes[owners == artist].sum(axis=0) for artist in artists])

    def rank(queries: slice, query_rows: np.ndarray, length: int) -> np.ndarray:
        scores = totals[queries].copy()
        own = np.flatnonzero(query_rows >= 0)
        scores[own, query_rows[own]] = -np.inf
        return np.argsort(-scores, axis=1, kind="stable")[:, :length]

    scores = evaluate_rankings(rank, artists, split.ids, split.related, ks=(k,), depth=k).scores
    return dict(zip(artists, scores.ndcg[k].tolist(), strict=True))
