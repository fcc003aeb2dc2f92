"""Where lies what a run's models predict: the artists' embeddings or the tracks' genres."""

from __future__ import annotations

from musicrec.pipeline.base import Outcome, Run
from musicrec.pipeline.embed import TABLE as EMBEDDINGS
from musicrec.pipeline.labels import TABLE as LABELS


def target_table(run: Run, targeted: Outcome) -> str:
    """The store's name of the table of targets that the stage of the run's task made."""
    return targeted.stage.path(EMBEDDINGS if run.config.task == "embedding" else LABELS)
