"""Check a catalog's genres: their spelling, and that the top genre is one of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.catalog.rules import Inspected
from musicrec.catalog.tables import split_lists


def check_genres(tracks: Inspected) -> None:
    """Check that a track's top genre is one of its genres."""
    if not tracks.has("genres", "genre_top"):
        return
    lists, top = (
        split_lists(tracks.columns["genres"]).combine_chunks(),
        tracks.columns["genre_top"].combine_chunks(),
    )
    parents = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    same = pc.fill_null(pc.equal(lists.flatten(), top.take(pa.array(parents))), False).to_numpy(
        zero_copy_only=False
    )
    listed = np.bincount(parents, weights=same, minlength=len(tracks.rows)) > 0
    wrong = top.is_valid().to_numpy(zero_copy_only=False) & ~listed
    tracks.report("genre_top", wrong, "not among the genres", "add it to genres", "warning")
