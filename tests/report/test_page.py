"""The page is one file, and nothing in a catalog's names becomes markup or runs."""

from __future__ import annotations

import html
import io
import json
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hostile_report import DETAILS, HEAD, HOSTILE, artist_maps, hostile_sections
from PIL import Image

from musicrec.report.page import render, render_stills
from musicrec.report.sections import Section

MOST_BYTES = 10_000_000


class Elements(HTMLParser):
    """Every element with its attributes, and the text inside scripts and elsewhere."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script" and self.scripts[-1][1] == "":
            self.scripts[-1] = (self.scripts[-1][0], data)
        else:
            self.texts.append(data)


@pytest.fixture(scope="module")
def sections() -> list[Section]:
    return hostile_sections()


@pytest.fixture(scope="module")
def stills(sections: list[Section]) -> dict[str, bytes]:
    return render_stills(sections)


@pytest.fixture(scope="module")
def page(sections: list[Section], stills: dict[str, bytes]) -> Elements:
    return Elements(render(HEAD, sections, stills, DETAILS))


def test_no_name_becomes_an_element_or_an_attribute(page: Elements) -> None:
    attributes = [(tag, name) for tag, result in page.elements for name in result]
    assert [one for one in attributes if one[1].startswith("on")] == []
    assert {tag for tag, _ in page.elements} & {
        "b",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
    } == set()
    assert sum(HOSTILE in text for text in page.texts) >= 10


def test_nothing_is_loaded_from_anywhere(page: Elements) -> None:
    sources = [
        value
        for _, result in page.elements
        for name, value in result.items()
        if name in ("src", "href", "srcset", "data")
    ]
    assert {
        source.split(":", maxsplit=1)[0] if source.startswith("data:") else source[0]
        for source in sources
    } == {"data", "#"}
    assert all(source.startswith(("data:image/", "data:,", "#")) for source in sources)


def test_the_page_s_own_two_scripts_are_all_that_may_run(page: Elements) -> None:
    running = [text for result, text in page.scripts if result.get("type") != "application/json"]
    assert len(running) == 2
    (policy,) = (
        result["content"]
        for tag, result in page.elements
        if tag == "meta" and "http-equiv" in result
    )
    assert "default-src 'none'" in policy
    assert policy.count("'sha256-") == 2
    assert "unsafe-eval" not in policy
    assert "script-src 'unsafe-inline'" not in policy


def test_the_charts_have_the_names_as_plotly_shows_them(page: Elements) -> None:
    charts = {
        result["id"]: json.loads(text)
        for result, text in page.scripts
        if result.get("type") == "application/json"
    }
    (named,) = charts["data-figure-19-country"]["data"]
    first = named["hovertext"][0].split("<br>")[0]
    assert "<" not in first
    assert html.unescape(first).startswith(f"0 {HOSTILE}"[:100])


def test_every_plot_is_also_a_file(sections: list[Section], stills: dict[str, bytes]) -> None:
    names = {name.rpartition(".")[0] for name in stills}
    assert {
        "figure-03-mel",
        "figure-08-edge-kernels",
        "figure-19-country",
        "figure-22-artist-1",
        "calibration",
        "example-1",
    } <= names
    for name, content in stills.items():
        if name.endswith(".png"):
            width, height = Image.open(io.BytesIO(content)).size
            assert min(width, height) > 100, name
        else:
            tags = {
                element.tag.rpartition("}")[2] for element in ElementTree.fromstring(content).iter()
            }
            assert not tags & {"script", "img", "foreignObject"}, name
    shown = "".join(ElementTree.fromstring(stills["figure-22-artist-1.svg"]).itertext())
    assert "".join(HOSTILE.split()) in "".join(shown.split())


def test_3000_artists_with_long_names_stay_a_page_that_opens() -> None:
    page = render(
        HEAD, [artist_maps(3000, "An artist with a name of more than average length ")], {}, []
    )
    assert len(page.encode()) < MOST_BYTES
