"""Where each figure and table of the thesis has its counterpart on the page (thesis.md, section 7)."""

from __future__ import annotations

from collections.abc import Sequence

from musicrec.evaluation.thesis import TABLES
from musicrec.report.sections import Example, Picture, Section, Table

_FIGURES = {
    **{f"Figure {number}": "a clip's spectrogram" for number in range(1, 7)},
    "Figure 7": "long tail by location, genre, year",
    "Figure 8": "edge kernels over a spectrogram, through ReLU",
    "Figure 19": "artist embeddings by country",
    "Figure 20": "artist embeddings by genre",
    "Figure 21": "artist embeddings by era",
    "Figure 22": "artist embeddings around an artist",
}
_TABLES = {f"Table {number}": table.title for number, table in TABLES.items()} | {
    "Table 7": "recommendation examples"
}


def counterparts_section(sections: Sequence[Section]) -> Section:
    """A table of the thesis' figures and tables, and where they are."""
    found: dict[str, list[str]] = {}
    for section in sections:
        for item in section.content:
            shown = item.answer if isinstance(item, Example) else item
            if isinstance(shown, Picture | Table) and shown.thesis:
                found.setdefault(shown.thesis, []).append(f"{section.title}: {shown.title}")
    rows = [
        [name, what, _where(found.get(name, []), name)]
        for name, what in (_FIGURES | _TABLES).items()
    ]
    reading = "Figures 9 to 18 of the thesis are drawings of its architectures, which musicrec.models builds."
    table = Table(
        "counterparts",
        "The thesis' figures and tables",
        reading,
        ["thesis", "what it shows", "here"],
        rows,
    )
    lead = "R. Whitell, Content-Based Music Recommendation using Deep Learning (2019)."
    return Section("counterparts", "Beside the thesis", lead, (table,))


def _where(found: Sequence[str], name: str) -> str:
    if not found:
        kind, number = name.split()
        return "not of this run" + (
            f": jobs/reproduce.py --table {number}"
            if kind == "Table" and int(number) in TABLES
            else ""
        )
    return found[0] + (f", and {len(found) - 1} more" if len(found) > 1 else "")
