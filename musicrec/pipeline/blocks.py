"""Assign files to blocks and extract them, with the settings of a run."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from musicrec.extraction.isolation import Reader
from musicrec.extraction.manifest import Blocks
from musicrec.extraction.pipeline import Actors, run_blocks
from musicrec.pipeline.base import Run


def extract_blocks(
    run: Run,
    blocks: Blocks,
    items: pa.Table,
    columns: tuple[str, ...],
    reader: Reader,
    stage: str,
    prepare: Callable[[], None] | None = None,
    actors: Actors | None = None,
) -> dict[str, float]:
    """Extract the columns that the items lack; return the counts of ``run_blocks``."""
    settings = run.config.extract
    plan = blocks.extend(items, columns, settings.rows_per_block, retry=settings.retry_errors)
    return run_blocks(
        blocks,
        plan,
        reader,
        stage,
        settings.maximum_failed_share,
        prepare,
        actors,
        seconds_per_file=settings.seconds_per_file,
    )
