"""Check a run before its work begins.

Its models must be buildable, and models without input in the catalog are dropped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from musicrec.config.inputs import INPUTS, field_of, fields_of_kind, fields_of_table
from musicrec.config.jobs import Config
from musicrec.config.load import ConfigError, suggestion
from musicrec.features.lyrics import Vocabulary, words
from musicrec.pipeline.base import Run
from musicrec.specs.ensemble import EnsembleSpec
from musicrec.specs.stack import StackSpec
from musicrec.specs.submodel import SubmodelSpec
from musicrec.telemetry.progress import event


def check_names(config: Config, names: Iterable[str]) -> None:
    """Raise ConfigError if the configuration lacks one of the submodels."""
    for name in names:
        if name not in config.models:
            available = list(config.models)
            close = suggestion(name, available)
            raise ConfigError(
                f"--submodels {name}: the configuration has no such model{close}; "
                f"it has {', '.join(available)}"
            )


def check_relations(run: Run) -> None:
    """Raise ConfigError if the task needs relations between artists, and the catalog has none."""
    if run.config.task == "embedding" and not run.catalog.related.num_rows:
        raise ConfigError(
            "the catalog has no relations between artists, from which embeddings are trained: make "
            "the table related with python jobs/relate.py --plays PLAYS, give --plays PLAYS here, "
            "or learn genres with --task many_genres"
        )


def check_sizes(config: Config, only: str | None = None) -> None:
    """Build every model of a configuration on the meta device, without memory.

    A size that does not fit is found before the work begins.

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
            name, settings, config.embed.dimensions, config.extract, one_word
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
    """Return the run without the models and branches that have no input in the catalog.

    Each is reported. This applies only if any subset of inputs works (``ensemble.modality_dropout``
    above 0); otherwise the run is unchanged, and training a model without input raises an error
    that says what to do.
    """
    config = run.config
    if config.task != "embedding" or config.ensemble.modality_dropout == 0:
        return run
    rows = {split: _rows(run, split) for split in ("train", "validation")}

    def has(column: str) -> bool:
        return all(any(row[column] is not None for row in rows[split]) for split in rows)

    models = {
        name: model for name, model in config.models.items() if has(field_of(model.architecture))
    }
    branches = tuple(
        branch
        for branch in config.ensemble.branches
        if all(name in models for name in INPUTS[branch].submodels)
        and all(has(field) for field in INPUTS[branch].fields)
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
        event("catalog", f"'{name}' is left out: no training or no validation track has its input")
    ensemble = dataclasses.replace(config.ensemble, branches=branches)
    return dataclasses.replace(
        run, config=dataclasses.replace(config, models=models, stacks=stacks, ensemble=ensemble)
    )


def _rows(run: Run, split: str) -> list[dict[str, Any]]:
    """Return the inputs of the tracks of a split; a text without a word counts as missing."""
    artists = {row["artist_id"]: row for row in run.catalog.artists.to_pylist()}
    rows = [row for row in run.catalog.tracks.to_pylist() if row["split"] == split]
    of_artist = fields_of_table("artists", "file", "text", "number")
    for row in rows:
        row |= {name: artists[row["artist_id"]][name] for name in of_artist}
        row |= {
            name: row[name] if row[name] and words(row[name]) else None
            for name in fields_of_kind("text")
        }
    return rows
