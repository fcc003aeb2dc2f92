"""Evaluate the models of a genre task on the test split, and baselines that need no network.

The baselines are the majority class or the labels' frequencies, and classifiers of clip statistics
and of the vectors that submodels read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import torch

from musicrec.evaluation import baselines
from musicrec.evaluation.classification import multi_label_scores, single_label_scores
from musicrec.evaluation.confusion_plot import plot_confusion
from musicrec.pipeline.base import REVISION, Outcome, Run, run_stage, versions
from musicrec.pipeline.clip_statistics import read_statistics
from musicrec.pipeline.evaluate import RESULTS
from musicrec.pipeline.targets import target_table
from musicrec.pipeline.vector_baselines import vector_scores
from musicrec.registry.training_log import training_log
from musicrec.storage.store import Stage, fingerprint
from musicrec.training.objectives import OBJECTIVES
from musicrec.training.predictions import read_predictions
from musicrec.training.targets import Targets
from musicrec.training.training_run import EXAMPLES

FIGURES = 1  # part of the key; increase it when results.json gets more metrics
# The cost of a support vector machine is quadratic: 30,000 examples take minutes, 100,000 hours.
SVM_EXAMPLES = 30_000


def evaluate_genres(
    run: Run, labelled: Outcome, summarised: Outcome, models: dict[str, Outcome]
) -> Outcome:
    """Score every model and the baselines on the test tracks, and write ``results.json``."""
    keys = {name: outcome.stage.key for name, outcome in models.items()}
    stage = run.store.stage(
        "evaluation",
        fingerprint(
            REVISION, FIGURES, keys, labelled.stage.key, summarised.stage.key, run.config.seed
        ),
    )
    return run_stage(run, stage, lambda stage: _score_all(run, stage, labelled, summarised, models))


def _log(
    run: Run, models: dict[str, Outcome], results: dict[str, dict[str, Any]], classes: list[str]
) -> None:
    """Log test scores and confusion matrices to MLflow, each to the run of its training."""
    facts = {f"version.{name}": version for name, version in versions().items()}
    with training_log(run.config, run.store, run.catalog_key, run.catalog.root, facts) as log:
        for name, outcome in models.items():
            scores = {
                score: value
                for score, value in results[name].items()
                if isinstance(value, int | float)
            }
            plots = {}
            if "confusion" in results[name]:
                plots["confusion_matrix.png"] = plot_confusion(
                    results[name]["confusion"], classes, f"{name}, test tracks"
                )
            log.begin(name, outcome.stage.key, {})
            log.scores(name, scores, plots)


class GenreSplit:
    """The labelled tracks of one split: ids, artists, and targets (N,) or (N, C)."""

    def __init__(self, run: Run, labelled: Outcome, split: str) -> None:
        labels = run.store.read_table(
            target_table(run, labelled), OBJECTIVES[run.config.task].target_schema
        )
        labelled_tracks = set(labels.column("track_id").to_pylist())
        rows = [
            row
            for row in run.catalog.tracks.select(["track_id", "artist_id", "split"]).to_pylist()
            if row["split"] == split
        ]
        self.rows = [row for row in rows if row["track_id"] in labelled_tracks]
        self.tracks = [row["track_id"] for row in self.rows]
        self.artists = np.array([row["artist_id"] for row in self.rows])
        examples = pa.Table.from_pylist(self.rows, schema=EXAMPLES)
        targets = Targets.read(
            run.store,
            target_table(run, labelled),
            OBJECTIVES[run.config.task],
            examples,
            labelled.record["dimensions"],
        )
        self.truth = targets.of(np.arange(len(self.rows))).numpy()


def _score_all(
    run: Run, stage: Stage, labelled: Outcome, summarised: Outcome, models: dict[str, Outcome]
) -> dict[str, Any]:
    split, classes = GenreSplit(run, labelled, "test"), labelled.record["classes"]
    outputs = {
        name: read_predictions(run.store, outcome.record["predictions"], split.tracks, len(classes))
        for name, outcome in models.items()
    }
    results = {name: _score(run, split, classes, values) for name, values in outputs.items()}
    results = {
        **_baselines(run, split, labelled, summarised),
        **_vector_baselines(run, split, labelled, models),
        **results,
    }
    run.store.write_json(stage.path(RESULTS), results)
    _log(run, models, results, classes)
    tracks = max((result["tracks"] for result in results.values()), default=0)
    return {
        "rows_in": len(split.tracks),
        "rows_out": tracks,
        "rows_incomplete": len(split.tracks) - tracks,
        "classes": len(classes),
        "test_artists": len(set(split.artists.tolist())),
    }


def _score(run: Run, split: GenreSplit, classes: list[str], outputs: np.ndarray) -> dict[str, Any]:
    """Score a model's logits (test tracks, C); a row of zeros is a missing prediction, left out."""
    rows = np.flatnonzero(np.any(outputs != 0, axis=1))
    if not len(rows):
        return {"tracks": 0}
    truth, groups, seed = split.truth[rows], split.artists[rows], run.config.seed
    if run.config.task == "single_genre":
        return single_label_scores(truth, outputs[rows], classes, groups, seed)
    return multi_label_scores(
        truth, torch.from_numpy(outputs[rows]).sigmoid().numpy(), groups, seed
    )


def _baselines(
    run: Run, split: GenreSplit, labelled: Outcome, summarised: Outcome
) -> dict[str, dict[str, Any]]:
    """Return the results of the baselines by name.

    Those on clip statistics are there if tracks of both splits have statistics.
    """
    train, classes, seed = (
        GenreSplit(run, labelled, "train"),
        labelled.record["classes"],
        run.config.seed,
    )
    inputs, test_inputs = (read_statistics(run, summarised, part.tracks) for part in (train, split))
    fitted, scored = (
        np.flatnonzero(~np.isnan(values).any(axis=1)) for values in (inputs, test_inputs)
    )
    statistics, labels, queries = inputs[fitted], train.truth[fitted], test_inputs[scored]
    truth, groups = split.truth[scored], split.artists[scored]
    test_tracks, number = len(split.tracks), len(classes)
    if run.config.task == "many_genres":
        results = {
            "label shares": multi_label_scores(
                split.truth,
                baselines.label_frequencies(train.truth, test_tracks),
                split.artists,
                seed,
            )
        }
        if len(fitted) and len(scored):
            predicted = baselines.logistic_regression_labels(statistics, labels, queries)
            results["logistic regression"] = multi_label_scores(truth, predicted, groups, seed)
        return results
    frequencies = baselines.class_frequencies(train.truth, number, test_tracks)
    results = {
        "majority": single_label_scores(split.truth, frequencies, classes, split.artists, seed)
    }
    if len(fitted) and len(scored):
        predicted = baselines.logistic_scores(statistics, labels, queries, number)
        results["logistic regression"] = single_label_scores(
            truth, predicted, classes, groups, seed
        )
        sample = np.random.default_rng(seed).permutation(len(fitted))[:SVM_EXAMPLES]
        votes = baselines.svm_scores(statistics[sample], labels[sample], queries, number)
        results["RBF-SVM"] = single_label_scores(
            truth, votes, classes, groups, seed, probabilistic=False
        )
    return results


def _vector_baselines(
    run: Run, split: GenreSplit, labelled: Outcome, models: dict[str, Outcome]
) -> dict[str, dict[str, Any]]:
    """Return the results of linear classifiers of the vectors that submodels read, by name.

    They are for one genre per track: each of 161 labels on thousands of numbers would take hours.
    """
    if run.config.task != "single_genre":
        return {}
    train, validation = (GenreSplit(run, labelled, each) for each in ("train", "validation"))
    classes = labelled.record["classes"]
    scores = vector_scores(
        run,
        models,
        (train.tracks, train.truth),
        (validation.tracks, validation.truth),
        split.tracks,
        len(classes),
    )
    return {
        name: single_label_scores(
            split.truth[rows], values, classes, split.artists[rows], run.config.seed
        )
        for name, (rows, values) in scores.items()
    }
