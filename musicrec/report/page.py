"""Render the report as one HTML file that needs neither a server nor a network.

Names of artists, genres and files are untrusted user data. Every text is escaped where it is
written: by jinja2 in HTML, by `interactive.escaped` in charts, and as JSON without ``<`` inside
scripts. In addition, a content security policy lets the browser run only the page's own two
scripts, identified by their hashes, and load nothing.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image
from plotly.offline import get_plotlyjs

from musicrec.report.charts import Chart, Matrix
from musicrec.report.interactive import to_plotly
from musicrec.report.sections import Card, Example, Plot, Section, Table
from musicrec.report.still import render_still

TEMPLATES = Path(__file__).parent / "templates"
# Signs that end a script element or start a comment in it, and line ends that are legal in JSON but
# not in JavaScript.
_IN_SCRIPT = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}
WEBP_QUALITY = 82


@dataclass(frozen=True)
class Head:
    """Top of the page: title, facts about the run, verdict in a sentence, and cards."""

    title: str
    facts: str
    sentence: str
    cards: Sequence[Card]


def render_stills(
    sections: Sequence[Section], kinds: Sequence[str] = ("png", "svg")
) -> dict[str, bytes]:
    """Return every plot of the page by file name, in these formats; images of examples as PNG."""
    stills: dict[str, bytes] = {}
    for item in _items(sections):
        if isinstance(item, Plot):
            title = f"{item.thesis}: {item.title}" if item.thesis else item.title
            stills |= {
                f"{item.name}.{kind}": content
                for kind, content in render_still(item.still or item.content, title, kinds).items()
            }
        elif isinstance(item, Example) and item.image is not None and "png" in kinds:
            stills[f"{item.name}.png"] = item.image
    return stills


def render(
    head: Head,
    sections: Sequence[Section],
    stills: Mapping[str, bytes],
    details: Sequence[tuple[str, str]],
) -> str:
    """Return the whole page.

    Parameters
    ----------
    stills
        Result of `render_stills` by file name; a missing one is drawn.
    details
        Name and text of the run's configuration, versions and times.
    """
    script, plotly = (TEMPLATES / "page.js").read_text(encoding="utf-8"), get_plotlyjs()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests |= {
        "plot": lambda item: isinstance(item, Plot),
        "table": lambda item: isinstance(item, Table),
        "chart": lambda content: isinstance(content, Chart | Matrix),
    }
    environment.filters |= {
        "in_script": in_script,
        "png": lambda content: _data_uri(content, "png"),
    }
    return environment.get_template("page.html.j2").render(
        head=head,
        sections=sections,
        details=details,
        shown={
            name: to_plotly(content)
            for name, content in _contents(sections, Chart | Matrix).items()
        },
        webp={
            name: _webp(stills.get(f"{name}.png") or render_still(content, "", ["png"])["png"])
            for name, content in _contents(sections, Figure).items()
        },
        style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        plotly=Markup(plotly),
        script=Markup(script),
        policy="; ".join(
            (
                "default-src 'none'",
                f"script-src {_hash(plotly)} {_hash(script)}",
                "style-src 'unsafe-inline'",  # plotly adds its rules; styles run no code
                "img-src data: blob:",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
    )


def in_script(value: object) -> Markup:
    """Return a value as JSON that is safe inside a script element."""
    return Markup(
        json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).translate(
            _IN_SCRIPT
        )
    )


def _items(sections: Sequence[Section]) -> Iterator[Plot | Table | Example]:
    return (item for section in sections for item in section.content)


def _contents(sections: Sequence[Section], kind: type) -> dict[str, Any]:
    """Return the contents of one type of all plots, by name."""
    return {
        item.name: item.content
        for item in _items(sections)
        if isinstance(item, Plot) and isinstance(item.content, kind)
    }


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _webp(png: bytes) -> str:
    """Return an image for the page: a spectrogram as WebP takes a fifth of its PNG's bytes."""
    stream = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(stream, format="WEBP", quality=WEBP_QUALITY)
    return _data_uri(stream.getvalue(), "webp")


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
