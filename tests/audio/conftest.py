"""A clip of music and librosa's features of it, computed once for all tests."""

from __future__ import annotations

import numpy as np
import pytest
from sound import compose, librosa_features


@pytest.fixture(scope="session")
def clip() -> np.ndarray:
    """30 s of mono music at 22,050 Hz."""
    return compose(30.0).mean(axis=1)


@pytest.fixture(scope="session")
def reference(clip: np.ndarray) -> dict[str, np.ndarray]:
    return librosa_features(clip)
