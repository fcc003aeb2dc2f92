from __future__ import annotations

from pathlib import Path

import pytest

from musicrec.benchmarks.features import render_clips


@pytest.mark.slow
def test_clips_are_rendered_into_a_new_folder(tmp_path: Path) -> None:
    (path,) = render_clips(tmp_path / "new" / "clips", 1)
    assert path.stat().st_size > 100_000
