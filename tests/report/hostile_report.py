"""A report with attacks in every name: on HTML, scripts, plotly markup and matplotlib formulas."""

from __future__ import annotations

from typing import Any

import numpy as np

from musicrec.evaluation.calibration import similarity_calibration
from musicrec.evaluation.examples import Recommendation
from musicrec.report.calibration import similarity_section
from musicrec.report.catalog import failures_section
from musicrec.report.charts import Chart
from musicrec.report.clip import clip_section
from musicrec.report.confusion import confusion_section
from musicrec.report.curves import curves_section
from musicrec.report.examples import examples_section, mel_image
from musicrec.report.maps import ArtistMap, maps_section
from musicrec.report.page import Head
from musicrec.report.sections import Card, Section

HOSTILE = (
    "</script><img src=x onerror=\"window.attacked='&amp;'\"><b>$\\frac{A}$AP 王菲 <!-- ' \u2028"
)
DETAILS = [("Configuration", HOSTILE)]
HEAD = Head(HOSTILE, HOSTILE, HOSTILE, [Card(HOSTILE, HOSTILE, HOSTILE)])


def artists(count: int, name: str = HOSTILE) -> list[dict[str, Any]]:
    facts = {
        "country": name,
        "genres": [name],
        "origin": name,
        "first_year": 1900,
        "last_year": 1980,
        "birth_year": None,
    }
    return [
        facts | {"artist_id": f"{name}{number}", "name": f"{number} {name}"}
        for number in range(count)
    ]


def artist_maps(count: int, name: str = HOSTILE) -> Section:
    """Return Figures 19 to 22 of artists on a grid, where no point hides another."""
    made = artists(count, name)
    side = int(np.ceil(np.sqrt(count)))
    places = np.stack(np.divmod(np.arange(count), side), axis=1).astype(float)
    return maps_section(
        ArtistMap(made, places, 50, count),
        {made[0]["artist_id"]: [made[1]["artist_id"]]},
        [made[0]["artist_id"]],
    )


def hostile_sections() -> list[Section]:
    """Return one section of every kind."""
    rng = np.random.default_rng(0)
    vectors, made = rng.normal(size=(12, 4)), artists(12)
    own, related = np.arange(12), [np.array([(row + 1) % 12]) for row in range(12)]
    facts = {artist["artist_id"]: artist for artist in made}
    mel = rng.normal(size=(256, 643)).astype(np.float32)
    history = [
        {"epoch": epoch, "loss": 1 / (1 + epoch), "validation": epoch / 4} for epoch in range(4)
    ]
    one = Recommendation(
        made[0]["artist_id"],
        0.5,
        [made[1]["artist_id"], made[2]["artist_id"]],
        np.array([0.9, 0.8], np.float32),
    )
    clips = {made[0]["artist_id"]: (HOSTILE, mel_image(mel, 200))}
    return [
        examples_section(
            [one], facts, {made[0]["artist_id"]: [made[1]["artist_id"]]}, clips, HOSTILE
        ),
        similarity_section(similarity_calibration(vectors, vectors, own, related), HOSTILE),
        artist_maps(12),
        curves_section({HOSTILE: history}, HOSTILE, HOSTILE, HOSTILE),
        confusion_section([[3, 1], [0, 2]], [HOSTILE, "rock"], HOSTILE),
        failures_section(
            [
                {
                    "stage": HOSTILE,
                    "reason": HOSTILE,
                    "count": 1,
                    "examples": [{"track_id": HOSTILE, "detail": HOSTILE}],
                }
            ],
            HOSTILE,
        ),
        clip_section({"mel": mel}, HOSTILE),
        Section("left-out", HOSTILE, missing=HOSTILE),
    ]


def charts(sections: list[Section]) -> list[str]:
    """Return the names of the interactive charts."""
    items = [item for section in sections for item in section.content]
    return [item.name for item in items if isinstance(getattr(item, "content", None), Chart)]
