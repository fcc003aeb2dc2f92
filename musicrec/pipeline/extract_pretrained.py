"""Extract the vectors of pretrained networks, each network into a table of its own."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from musicrec.extraction.index import build_index
from musicrec.extraction.manifest import Blocks
from musicrec.pipeline.base import REVISION, Run
from musicrec.pipeline.blocks import extract_blocks
from musicrec.pretrained.reader import PretrainedReader
from musicrec.storage.store import fingerprint


@dataclass(frozen=True)
class ExtractedVectors:
    """What the extraction of one network's vectors gave: counts, and parts of the two tables."""

    counts: dict[str, float]
    index: pa.Table
    errors: pa.Table


def pretrained_blocks(run: Run, name: str) -> tuple[Blocks, PretrainedReader]:
    """Return the blocks of a pretrained network's vectors of the catalog, and their reader."""
    reader = PretrainedReader(name, run.config.extract.minimum_seconds)
    key = fingerprint(REVISION, run.catalog.root, reader.parameters(), reader.minimum_seconds)
    return Blocks(run.store, f"pretrained/{key}"), reader


def extract_pretrained(run: Run, name: str, audio: pa.Table) -> ExtractedVectors:
    """Extract the vectors of recordings (item, uri, version) that the store does not have yet.

    The network's name is the stage's in the errors table, and the modality's in the index.
    """
    blocks, reader = pretrained_blocks(run, name)
    counts = extract_blocks(run, blocks, audio, (name,), reader, name)
    return ExtractedVectors(counts, *build_index(blocks, audio, (name,), name))


def pretrained_counts(vectors: list[ExtractedVectors]) -> dict[str, int]:
    """Return the counts for the record; none where no pretrained network is configured."""
    if not vectors:
        return {}
    return {
        "pretrained_errors": sum(each.errors.num_rows for each in vectors),
        "pretrained_now": sum(int(each.counts["rows"]) for each in vectors),
    }
