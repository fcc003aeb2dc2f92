"""Locate the targets of a run's models: the artists' embeddings or the tracks' genres."""

from __future__ import annotations

from musicrec.pipeline.base import Outcome, Run
from musicrec.pipeline.embed import TABLE as EMBEDDINGS
from musicrec.pipeline.labels import TABLE as LABELS


def target_table(run: Run, targeted: Outcome) -> str:
    """Return the name in the store of the table of targets for the run's task."""
    return targeted.stage.path(EMBEDDINGS if run.config.task == "embedding" else LABELS)
