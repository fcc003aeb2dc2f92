"""Counterparts section: the thesis' figures and tables, and where the page has them."""

from __future__ import annotations

from collections.abc import Sequence

from musicrec.evaluation.thesis import TABLES
from musicrec.report.sections import Example, Plot, Section, Table

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
    """Return a table of the thesis' figures and tables with their place on the page."""
    places: dict[str, list[str]] = {}
    for section in sections:
        for item in section.content:
            shown = item.answer if isinstance(item, Example) else item
            if isinstance(shown, Plot | Table) and shown.thesis:
                places.setdefault(shown.thesis, []).append(f"{section.title}: {shown.title}")
    rows = [
        [name, what, _where(places.get(name, []), name)]
        for name, what in (_FIGURES | _TABLES).items()
    ]
    reading = (
        "Figures 9 to 18 of the thesis are drawings of its architectures, "
        "which musicrec.models builds."
    )
    table = Table(
        "counterparts",
        "The thesis' figures and tables",
        reading,
        ["thesis", "what it shows", "here"],
        rows,
    )
    lead = "R. Whitell, Content-Based Music Recommendation using Deep Learning (2019)."
    return Section("counterparts", "Comparison with the thesis", lead, (table,))


def _where(places: Sequence[str], name: str) -> str:
    if not places:
        kind, number = name.split()
        return "not in this run" + (
            f": jobs/reproduce.py --table {number}"
            if kind == "Table" and int(number) in TABLES
            else ""
        )
    return places[0] + (f", and {len(places) - 1} more" if len(places) > 1 else "")
