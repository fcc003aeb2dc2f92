"""Compare the thesis' parameter counts with those of our models, built without weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from rich.console import Console

from musicrec.evaluation.thesis import LYRICS_VOCABULARY, TABLES, Published
from musicrec.models import VARIANTS, build_model, build_stack, count_parameters
from musicrec.models.stacks import GENRE_SUBMODELS
from musicrec.telemetry.tables import terminal_table

# Rows of Table 6 -> model variants.
RECOMMENDATIONS = {
    "recommendation": "Recommendation",
    "by_lyrics": "ByLyrics",
    "by_location": "ByLocation",
    "by_year": "ByYear",
    "by_albums": "ByAlbums",
    "by_audio_only": "AudioOnly",
}
# Stacks of Time and Freq of one feature; their own weights count.
PAIRS = ("time_freq", "time_freq_avg")


@dataclass(frozen=True)
class Count:
    """A row: the thesis' count of a model in a table, and ours."""

    table: int
    published: Published
    ours: int

    @property
    def agrees(self) -> bool:
        """Return whether the two counts are equal."""
        return self.ours == self.published.parameters


def parameter_counts() -> list[Count]:
    """Count the parameters of all rows of Tables 3 to 6 for which the thesis gives a count."""
    return [
        Count(table.number, row, model_parameters(row.model, table.outputs))
        for table in TABLES.values()
        for row in table.rows
        if row.parameters is not None
    ]


@cache
def model_parameters(name: str, outputs: int) -> int:
    """Return the parameters of a model at the thesis' sizes, by its name in the thesis' tables.

    Submodels of a stack count, as in the thesis, except Recommendation's.

    Raises
    ------
    ValueError
        No model has this name.
    """
    feature, _, architecture = name.rpartition(".")
    with torch.device("meta"):
        if name in RECOMMENDATIONS:
            return count_parameters(
                build_stack("recommendation", outputs, branches=VARIANTS[RECOMMENDATIONS[name]])
            )
        if name == "lyrics":
            return count_parameters(build_model(name, None, outputs, vocabulary=LYRICS_VOCABULARY))
        if name == "albums":
            return count_parameters(build_model(name, None, outputs))
        if name == "genre_ensemble":
            return _with_submodels(build_stack(name, outputs), GENRE_SUBMODELS, outputs)
        if architecture in PAIRS:
            return _with_submodels(
                build_stack(architecture, outputs), (f"{feature}.time", f"{feature}.freq"), outputs
            )
        return count_parameters(build_model(architecture, feature or None, outputs))


def _with_submodels(stack: torch.nn.Module, submodels: Sequence[str], outputs: int) -> int:
    return count_parameters(stack) + sum(model_parameters(name, outputs) for name in submodels)


def all_agree(counts: Sequence[Count]) -> bool:
    """Return whether every count of the thesis equals ours, and there is one."""
    return bool(counts) and all(count.agrees for count in counts)


def print_counts(console: Console | None = None) -> bool:
    """Print the thesis' counts and ours; return whether all agree."""
    counts = parameter_counts()
    columns = ("table", "model", "outputs", "thesis", "ours", "")
    shown = terminal_table(columns, right=columns[2:5], no_wrap=columns)
    for count in counts:
        row = count.published
        verdict = "agrees" if count.agrees else f"differs by {count.ours - row.parameters:+,}"
        outputs = str(TABLES[count.table].outputs)
        shown.add_row(
            str(count.table), row.model, outputs, f"{row.parameters:,}", f"{count.ours:,}", verdict
        )
    console = console or Console()
    console.print(shown)
    for count in counts:
        if count.published.printed_parameters is not None:
            console.print(
                f"{count.published.model} of table {count.table} is misprinted as "
                f"{count.published.printed_parameters:,}."
            )
    agreeing = sum(count.agrees for count in counts)
    console.print(f"{agreeing} of {len(counts)} parameter counts agree.")
    return all_agree(counts)
