"""Define the closed list of reasons why a recording cannot become features."""

from __future__ import annotations

AUDIO_ERRORS = (
    "not_audio",
    "truncated",
    "empty",
    "too_short",
    "too_long",
    "unreadable",
    "not_found",
)


class AudioError(ValueError):
    """A recording that cannot be used, with a reason from `AUDIO_ERRORS` and a readable detail.

    A retry does not help, because the fault is in the file. A storage failure (a lost connection, a
    denied object) is raised as `OSError`, because there a retry may help.
    """

    def __init__(self, reason: str, detail: str) -> None:
        if reason not in AUDIO_ERRORS:
            raise ValueError(f"reason {reason!r} is not one of {', '.join(AUDIO_ERRORS)}")
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[AudioError], tuple[str, str]]:
        return type(self), (self.reason, self.detail)
