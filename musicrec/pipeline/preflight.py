"""What can be known of a run before its work begins: that its models can be built, and which of them the catalog can feed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from musicrec.config.jobs import Config
from musicrec.config.load import ConfigError, suggestion
from musicrec.config.names import BRANCH_SUBMODELS
from musicrec.features.lyrics import Vocabulary, words
from musicrec.pipeline.base import Run
from musicrec.specs.ensemble import EnsembleSpec
from musicrec.specs.stack import StackSpec
from musicrec.specs.submodel import SubmodelSpec
from musicrec.telemetry.progress import event

BRANCH_COLUMNS = {"year": ("year",), "location": ("latitude", "longitude")}


def check_names(config: Config, names: Iterable[str]) -> None:
    """Raise ConfigError if one of the submodels is not the configuration's."""
    for name in names:
        if name not in config.models:
            known = list(config.models)
            close = suggestion(name, known)
            raise ConfigError(
                f"--submodels {name}: the configuration has no such model{close}; it has {', '.join(known)}"
            )


def check_sizes(config: Config, only: str | None = None) -> None:
    """Build every model of a configuration without its memory, so that a size that does not fit is found before the work begins.

    Parameters
    ----------
    only
        A section (models.mel.time, stacks.NAME, ensemble): the others are not built.

    Raises
    ------
    ConfigError
        Naming the section and what is wrong with its sizes.
    """
    import torch

    one_word = Vocabulary(("word",), (1.0,), cut=False)
    specs = {
        f"models.{name}": SubmodelSpec.from_settings(
            name, settings, config.embed.dimensions, config.extract.artwork_pixels, one_word
        )
        for name, settings in config.models.items()
    }
    specs |= {
        f"stacks.{name}": StackSpec(
            name, stack.architecture, config.embed.dimensions, stack.submodels, sizes=stack.sizes
        )
        for name, stack in config.stacks.items()
    }
    if config.task == "embedding":
        specs |= {
            "ensemble": EnsembleSpec(
                config.embed.dimensions, config.ensemble.branches, config.ensemble.sizes
            )
        }
    for section, spec in specs.items():
        if only not in (None, section):
            continue
        try:
            with torch.device("meta"):
                spec.build()
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{section} (sizes, pool): {error}") from error


def fit_to_catalog(run: Run) -> Run:
    """The run without the models and branches for which the catalog has no input, each said.

    Only where any subset of inputs works (``ensemble.modality_dropout`` above 0); otherwise the run is unchanged, and the training of what
    has no input says what to do.
    """
    config = run.config
    if config.task != "embedding" or config.ensemble.modality_dropout == 0:
        return run
    rows = {split: _rows(run, split) for split in ("train", "validation")}

    def has(column: str) -> bool:
        return all(any(row[column] is not None for row in rows[split]) for split in rows)

    inputs = {"lyrics": "lyrics", "albums": "artwork"}
    models = {
        name: model
        for name, model in config.models.items()
        if has(inputs.get(model.architecture, "audio"))
    }
    branches = tuple(
        branch
        for branch in config.ensemble.branches
        if all(name in models for name in BRANCH_SUBMODELS[branch])
        and all(has(column) for column in BRANCH_COLUMNS.get(branch, ()))
    )
    stacks = {
        name: stack
        for name, stack in config.stacks.items()
        if all(submodel in models for submodel in stack.submodels)
    }
    left_out = [
        *(name for name in config.models if name not in models),
        *(name for name in config.stacks if name not in stacks),
        *(name for name in config.ensemble.branches if name not in branches),
    ]
    for name in dict.fromkeys(left_out):
        event(
            "catalog", f"'{name}' is left out: no training or no validation track has what it reads"
        )
    ensemble = dataclasses.replace(config.ensemble, branches=branches)
    return dataclasses.replace(
        run, config=dataclasses.replace(config, models=models, stacks=stacks, ensemble=ensemble)
    )


def _rows(run: Run, split: str) -> list[dict[str, Any]]:
    """What the tracks of a split have, lyrics without a word counted as none."""
    artists = {row["artist_id"]: row for row in run.catalog.artists.to_pylist()}
    rows = [row for row in run.catalog.tracks.to_pylist() if row["split"] == split]
    for row in rows:
        row |= {name: artists[row["artist_id"]][name] for name in ("latitude", "longitude")}
        row["lyrics"] = row["lyrics"] if row["lyrics"] and words(row["lyrics"]) else None
    return rows
