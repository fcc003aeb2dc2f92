"""Relate the files of a test in this process, however many shards they have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from musicrec.config.sections import LockSettings, RaySettings, RelationsSettings
from musicrec.relations.relate import Related, relate
from musicrec.storage.store import Store


@pytest.fixture
def related(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Related]:
    """Relate what is at a location, without Ray."""
    monkeypatch.setattr("musicrec.relations.shards.SHARDS_HERE", 10_000)

    def run(
        location: Any, form: str = "table", store: str | None = None, **settings: Any
    ) -> Related:
        return relate(
            str(location),
            form,
            RelationsSettings(**settings),
            Store(store or str(tmp_path / "store")),
            RaySettings(num_cpus=2),
            LockSettings(),
        )

    return run
