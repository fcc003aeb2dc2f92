"""The configurations of the jobs that look ahead and back; plain values, quick to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pydantic
from pydantic import Field

from musicrec.settings import Config, Count, NotNegative


@dataclass(frozen=True, kw_only=True)
class PlanConfig(Config):
    """A dry run: what a catalog would cost."""

    sample: Count = 32
    """Clips, and as many pictures, that are read and timed; drawn by the seed."""
    trainings: bool = True
    """Time some steps of each submodel's training as well."""
    price_cpu_hour: NotNegative | None = None
    """Of one CPU for an hour, in any currency; costs are said for the prices that are given."""
    price_gpu_hour: NotNegative | None = None
    price_gb_month: NotNegative | None = None
    """Of 10^9 bytes in the store for a month."""


@dataclass(frozen=True, kw_only=True)
class StatusConfig:
    """Where every stage of a store stands."""

    store: str = "musicrec-store"


@dataclass(frozen=True, kw_only=True)
class ErrorsConfig:
    """What failed, and why."""

    store: str = "musicrec-store"
    examples: Annotated[int, Field(ge=0)] = 3
    """Of each reason, to show."""
    out: str | None = None
    """Write every error there as CSV: a path or URI."""


for _section in (PlanConfig, StatusConfig, ErrorsConfig):
    _section.__pydantic_config__ = pydantic.ConfigDict(extra="forbid")
