"""The submodels: what each reads, a training each, their predictions."""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa

from musicrec.config import ConfigError
from musicrec.lyrics import build_vocabulary, words
from musicrec.settings import SubmodelSettings
from musicrec.stages.base import REVISION, Outcome, Run, already_complete
from musicrec.stages.embed import TABLE
from musicrec.stages.extract import places
from musicrec.stages.trainings import run_trainings, schedule
from musicrec.store import Stage, fingerprint
from musicrec.submodels import SubmodelSpec
from musicrec.training.tasks import EXAMPLES, Task


def train(run: Run, extracted: Outcome, embedded: Outcome, names: list[str] | None = None) -> dict[str, Outcome]:
    """Train the named submodels (all of the configuration if not given); outcomes by name.

    Raises
    ------
    ConfigError
        A name is not among ``models``, or a submodel has nothing to learn from.
    TrainingFailed
        A training failed; the others were finished.
    """
    names = list(run.config.models) if names is None else names
    unknown = [name for name in names if name not in run.config.models]
    if unknown:
        raise ConfigError(f"--submodels {unknown[0]}: the configuration has no such model; it has {', '.join(run.config.models)}")
    stages = {name: submodel_stage(run, name, extracted, embedded) for name in names}
    tasks = [_task(run, name, stages[name], extracted, embedded) for name in names if stages[name].success() is None]
    finished = run_trainings(run, tasks)
    return {name: finished.get(name) or already_complete(stages[name], f"train {name}") for name in names}


def submodel_stage(run: Run, name: str, extracted: Outcome, embedded: Outcome) -> Stage:
    """Where a submodel lies: its key is made of its inputs, its settings and the seed."""
    settings = dataclasses.asdict(run.config.models[name])
    return run.store.stage("submodels", fingerprint(REVISION, name, extracted.stage.key, embedded.stage.key, settings, run.config.seed))


def _task(run: Run, name: str, stage: Stage, extracted: Outcome, embedded: Outcome) -> Task:
    """Write what the training reads into its folder."""
    settings = run.config.models[name]
    rows = _lyric_rows(run) if settings.architecture == "lyrics" else _stored_rows(run, settings, extracted)
    vocabulary = None
    if settings.architecture == "lyrics":
        vocabulary = build_vocabulary((row["text"] for row in rows if row["split"] == "train"), settings.maximum_vocabulary)
        rows = [row for row in rows if len(vocabulary.encode(row["text"]))]  # a text without one known word says nothing: missing lyrics
    for split in ("train", "validation"):
        if not any(row["split"] == split for row in rows):
            what = settings.feature or {"lyrics": "lyrics", "albums": "artwork"}[settings.architecture]
            raise ConfigError(
                f"models.{name}: no track of the split '{split}' has {what}; take this model and its branch out, or add such tracks"
            )
    spec = SubmodelSpec.from_settings(name, settings, embedded.record["dimensions"], run.config.extract.artwork_pixels, vocabulary)
    run.store.write_json(stage.path("spec.json"), spec.as_json())
    run.store.write_table(stage.path("examples.parquet"), pa.Table.from_pylist(rows, schema=EXAMPLES), EXAMPLES)
    return Task(
        store=run.store.root,
        name=name,
        folder=stage.folder,
        embeddings=embedded.stage.path(TABLE),
        schedule=schedule(settings),
        seed=run.config.seed,
        cache_gigabytes=run.config.train.cache_gigabytes,
        masks=(settings.time_mask, settings.frequency_mask),
    )


def _stored_rows(run: Run, settings: SubmodelSettings, extracted: Outcome) -> list[dict[str, Any]]:
    where = places(run, extracted, settings.feature or "artwork")
    return [
        {"track_id": track, "artist_id": artist, "split": split, "part": where[track][0], "row": where[track][1]}
        for track, artist, split in _tracks(run)
        if track in where
    ]


def _lyric_rows(run: Run) -> list[dict[str, Any]]:
    texts = run.catalog.tracks.column("lyrics").to_pylist()
    return [
        {"track_id": track, "artist_id": artist, "split": split, "text": text}
        for (track, artist, split), text in zip(_tracks(run), texts, strict=True)
        if text and words(text)
    ]


def _tracks(run: Run) -> list[tuple[str, str, str]]:
    return list(zip(*(run.catalog.tracks.column(name).to_pylist() for name in ("track_id", "artist_id", "split")), strict=True))
