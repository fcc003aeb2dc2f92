from __future__ import annotations

import numpy as np
import pytest

from musicrec.pipeline.folds import fold_of_artists, without_fold


@pytest.mark.parametrize("folds", [2, 5])
def test_folds_partition_the_artists_and_hold_nearly_equally_many_tracks(folds: int) -> None:
    generator = np.random.default_rng(0)
    tracks = {f"artist {n}": int(generator.integers(1, 12)) for n in range(200)}
    chosen = fold_of_artists(tracks, folds, seed=3)
    assert chosen.keys() == tracks.keys()
    sizes = np.bincount(
        [chosen[name] for name in tracks], weights=list(tracks.values()), minlength=folds
    )
    assert sizes.max() - sizes.min() <= max(tracks.values())
    assert chosen == fold_of_artists(dict(reversed(tracks.items())), folds, seed=3)
    assert chosen != fold_of_artists(tracks, folds, seed=4)


def test_a_fold_is_held_out_and_test_tracks_are_left_out() -> None:
    rows = [
        {"track_id": name, "artist_id": name[0], "split": split}
        for name, split in (("a1", "train"), ("a2", "train"))
    ]
    rows += [
        {"track_id": "b1", "artist_id": "b", "split": "train"},
        {"track_id": "v", "artist_id": "v", "split": "validation"},
    ]
    rows += [{"track_id": "t", "artist_id": "t", "split": "test"}]
    kept = without_fold(rows, {"a": 0, "b": 1}, 0)
    assert {row["track_id"]: row["split"] for row in kept} == {
        "a1": "held_out",
        "a2": "held_out",
        "b1": "train",
        "v": "validation",
    }
    assert rows[0]["split"] == "train"  # the rows of the run on all folds are unchanged
