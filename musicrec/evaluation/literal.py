"""Show users' names literally in plots."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def literal_text() -> Iterator[None]:
    """Disable math text: matplotlib would read text between two dollar signs as a formula."""
    import matplotlib

    with matplotlib.rc_context({"text.parse_math": False}):
        yield
