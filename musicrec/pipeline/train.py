"""Train the submodels: write the inputs of each training run and launch it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pyarrow as pa

from musicrec.config.inputs import FIELDS, RECORDING, VECTORS, field_of
from musicrec.config.load import ConfigError
from musicrec.config.sections import SubmodelSettings
from musicrec.features.columns import Statistics
from musicrec.features.lyrics import build_vocabulary, words
from musicrec.pipeline.base import REVISION, Outcome, Run, already_complete
from musicrec.pipeline.bin_statistics import bin_statistics
from musicrec.pipeline.extract import places
from musicrec.pipeline.folds import artist_folds, without_fold
from musicrec.pipeline.labels import TABLE as LABELS_TABLE
from musicrec.pipeline.launch import launch_training_runs, objective_name, schedule
from musicrec.pipeline.preflight import check_names
from musicrec.pipeline.targets import target_table
from musicrec.pipeline.uninformative import uninformative
from musicrec.pipeline.vectors import vector_places
from musicrec.specs.submodel import SubmodelSpec
from musicrec.storage.store import Stage, fingerprint
from musicrec.training.predictions import NO_FOLD, Predictions
from musicrec.training.training_run import EXAMPLES, TrainingRun


@dataclasses.dataclass(frozen=True)
class Trained:
    """The submodels of a run by name, and those of each fold where stacks learn out of fold."""

    whole: dict[str, Outcome]
    folds: dict[str, list[Outcome]]

    def predictions(self, names: list[str]) -> dict[str, Predictions]:
        """Return the files of the named submodels' predictions."""
        return {
            name: Predictions(
                self.whole[name].record["predictions"],
                [file for fold in self.folds.get(name, []) for file in fold.record["predictions"]],
            )
            for name in names
        }

    def keys(self, names: list[str]) -> dict[str, list[str]]:
        """Return the keys of the named submodels' stages, which identify their predictions."""
        return {
            name: [outcome.stage.key for outcome in (self.whole[name], *self.folds.get(name, []))]
            for name in names
        }

    @property
    def worked(self) -> bool:
        """Whether this call trained any of them."""
        of_folds = (outcome for outcomes in self.folds.values() for outcome in outcomes)
        return any(outcome.worked for outcome in (*self.whole.values(), *of_folds))


def train(
    run: Run, extracted: Outcome, targeted: Outcome, names: list[str] | None = None
) -> Trained:
    """Train the named submodels (default: all), and with ``train.folds`` again without each fold.

    A training run without a fold leaves out that fold's artists.

    Raises
    ------
    ConfigError
        A name is not among ``models``, or a submodel has nothing to learn from.
    TrainingFailed
        A training run failed; the others were finished.
    """
    names = list(run.config.models) if names is None else names
    check_names(run.config, names)
    folds = (NO_FOLD, *range(run.config.train.folds))
    to_train = [(name, fold) for fold in folds for name in names]
    stages = {each: submodel_stage(run, *each, extracted, targeted) for each in to_train}
    finished = launch_training_runs(
        run,
        [
            submodel_training_run(run, *each, stages[each], extracted, targeted)
            for each in to_train
            if stages[each].success() is None
        ],
    )
    outcomes = {
        each: finished.get(stages[each].folder)
        or already_complete(stages[each], f"train {training_name(*each)}")
        for each in to_train
    }
    whole = {name: outcomes[name, NO_FOLD] for name in names}
    return Trained(
        whole,
        {name: [outcomes[name, fold] for fold in range(run.config.train.folds)] for name in names},
    )


def training_name(name: str, fold: int) -> str:
    """Return a training run's name: the submodel's name and the fold that is held out."""
    return name if fold == NO_FOLD else f"{name} without fold {fold + 1}"


def submodel_stage(run: Run, name: str, fold: int, extracted: Outcome, targeted: Outcome) -> Stage:
    """Return the stage of a submodel.

    Its key is a hash of its inputs, its settings, the seed, the artists that it leaves out, and the
    recordings that say nothing, if there are any.
    """
    model = run.config.models[name]
    settings = dataclasses.asdict(model)
    without_sound = _without_sound(run, model, extracted)
    left_out = (
        [*run.left_out] if fold == NO_FOLD else [*run.left_out, (run.config.train.folds, fold)]
    )
    key = fingerprint(
        REVISION,
        name,
        extracted.stage.key,
        targeted.stage.key,
        settings,
        run.config.seed,
        left_out,
        run.config.train.key_fields(),
        *([sorted(without_sound.items())] if without_sound else []),
    )
    return run.store.stage("submodels", key)


def _without_sound(run: Run, settings: SubmodelSettings, extracted: Outcome) -> dict[str, str]:
    """Return the tracks whose recordings say nothing, if the model reads recordings."""
    return uninformative(run, extracted) if field_of(settings.architecture) == RECORDING else {}


def submodel_training_run(
    run: Run, name: str, fold: int, stage: Stage, extracted: Outcome, targeted: Outcome
) -> TrainingRun:
    """Write the inputs of a submodel's training run into its folder, and return the run."""
    settings = run.config.models[name]
    field = field_of(settings.architecture)
    reads_text = FIELDS[field].kind == "text"
    rows = _text_rows(run, field) if reads_text else _stored_rows(run, settings, extracted)
    rows = _labelled(run, targeted, rows)
    rows, left_out = _leave_out(rows, _without_sound(run, settings, extracted))
    if fold != NO_FOLD:
        rows = without_fold(rows, artist_folds(run), fold)
    vocabulary = None
    if reads_text:
        vocabulary = build_vocabulary(
            (row["text"] for row in rows if row["split"] == "train"), settings.maximum_vocabulary
        )
        # A text without a word of the vocabulary counts as missing.
        rows = [row for row in rows if len(vocabulary.encode(row["text"]))]
    label = f"models.{training_name(name, fold)}"
    for split in ("train", "validation"):
        if not any(row["split"] == split for row in rows):
            raise ConfigError(
                f"{label}: no track of the split '{split}' has {settings.feature or field}; "
                "take this model and its branch out, or add such tracks"
            )
    bins = _bins(run, settings, extracted, rows)
    spec = SubmodelSpec.from_settings(
        name, settings, targeted.record["dimensions"], run.config.extract, vocabulary, bins
    )
    run.store.write_json(stage.path("spec.json"), spec.as_json())
    run.store.write_table(
        stage.path("examples.parquet"), pa.Table.from_pylist(rows, schema=EXAMPLES), EXAMPLES
    )
    return TrainingRun(
        store=run.store.root,
        name=training_name(name, fold),
        folder=stage.folder,
        kind="submodel",
        objective=objective_name(run.config, settings),
        targets=target_table(run, targeted),
        schedule=schedule(settings, run.config.train),
        seed=run.config.seed,
        fold=fold,
        cache_gigabytes=run.config.train.cache_gigabytes,
        masks=(settings.time_mask, settings.frequency_mask),
        mixup=settings.mixup,
        left_out=left_out,
    )


def _leave_out(
    rows: list[dict[str, Any]], reasons: dict[str, str]
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return the rows without those that have a reason, and the number of rows per reason.

    Test rows stay: every model predicts them.
    """
    kept, counts = [], Counter()
    for row in rows:
        if row["split"] != "test" and row["track_id"] in reasons:
            counts[reasons[row["track_id"]]] += 1
        else:
            kept.append(row)
    return kept, dict(counts)


def _bins(
    run: Run, settings: SubmodelSettings, extracted: Outcome, rows: list[dict[str, Any]]
) -> Statistics | None:
    """Return the statistics of each frequency bin that a submodel standardises by, if it does.

    They are those of its own training rows, from which a held-out fold is absent.
    """
    # Images (CIFAR, artwork) are not standardised.
    by_bins = settings.standardise == "per_feature_bin" and settings.feature not in (None, "cifar")
    return bin_statistics(run, extracted, settings.feature, rows) if by_bins else None


def _labelled(run: Run, targeted: Outcome, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with a target: every artist has an embedding, not every track a genre."""
    if run.config.task == "embedding":
        return rows
    labels = run.store.read_table(
        targeted.stage.path(LABELS_TABLE),
        pa.schema([EXAMPLES.field("track_id")]),
        columns=["track_id"],
    )
    labelled = set(labels.column("track_id").to_pylist())
    return [row for row in rows if row["track_id"] in labelled]


def _stored_rows(run: Run, settings: SubmodelSettings, extracted: Outcome) -> list[dict[str, Any]]:
    if settings.feature in VECTORS:
        stored = vector_places(run, extracted, settings.feature)
    else:
        stored = places(run, extracted, settings.feature or field_of(settings.architecture))
    return [
        {
            "track_id": track,
            "artist_id": artist,
            "split": split,
            "part": stored[track][0],
            "row": stored[track][1],
        }
        for track, artist, split in _tracks(run)
        if track in stored
    ]


def _text_rows(run: Run, field: str) -> list[dict[str, Any]]:
    texts = run.catalog.tracks.column(field).to_pylist()
    return [
        {"track_id": track, "artist_id": artist, "split": split, "text": text}
        for (track, artist, split), text in zip(_tracks(run), texts, strict=True)
        if text and words(text)
    ]


def _tracks(run: Run) -> list[tuple[str, str, str]]:
    return list(
        zip(
            *(
                run.catalog.tracks.column(name).to_pylist()
                for name in ("track_id", "artist_id", "split")
            ),
            strict=True,
        )
    )
