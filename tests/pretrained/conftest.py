"""Tests of pretrained networks need their packages of weights, which nothing else depends on."""

from __future__ import annotations

import importlib.metadata
import os

import pytest


@pytest.fixture(scope="session")
def musicnn_package() -> None:
    """Skip where the package is not installed, unless MUSICREC_TEST_PRETRAINED is "required"."""
    try:
        importlib.metadata.version("musicnn")
    except importlib.metadata.PackageNotFoundError:
        if os.environ.get("MUSICREC_TEST_PRETRAINED") == "required":
            raise
        pytest.skip("needs pip install --no-deps musicnn==0.1.0")
