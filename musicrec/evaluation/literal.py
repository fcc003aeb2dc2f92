"""Names of users in pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def literal_text() -> Iterator[None]:
    """Texts made within stand as they are; matplotlib would read what lies between two dollar signs as a formula."""
    import matplotlib

    with matplotlib.rc_context({"text.parse_math": False}):
        yield
