"""The page in a real browser: it loads without an error or a request, says what a point is, fits a phone, and runs nothing of a name."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_report import DETAILS, HEAD, HOSTILE, charts, hostile_sections
from PIL import Image

from musicrec.report.page import render

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# "required": a missing browser is a failure, not a reason to skip. Set where the tests have to say something of the page (.ci/run).
VARIABLE = "MUSICREC_TEST_BROWSER"
FLAGS = (
    "--no-sandbox",  # which needs another user than root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
BLUE = (0x00, 0x72, 0xB2)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        reason = f"none of {', '.join(BROWSERS)} is installed (apt-get install chromium): the report is not opened in a browser"
        if os.environ.get(VARIABLE) == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The page of a report whose names are attacks, and its charts."""
    sections = hostile_sections()
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(HEAD, sections, {}, DETAILS), encoding="utf-8")
    return path, charts(sections)


@pytest.fixture(scope="module", params=["desktop", "phone"])
def opened(
    request: pytest.FixtureRequest, browser: Any, report: tuple[Path, list[str]]
) -> Iterator[tuple[Any, list[str]]]:
    """The page once all charts are drawn, and what the browser complained of."""
    phone = request.param == "phone"
    context = browser.new_context(
        viewport=PHONE if phone else DESKTOP, has_touch=phone, is_mobile=phone
    )
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
    page.on(
        "request",
        lambda request: (
            said.append(f"request: {request.url}")
            if not request.url.startswith(("file:", "data:"))
            else None
        ),
    )
    page.goto(report[0].as_uri())
    page.wait_for_selector("html[data-drawn=yes]")
    yield page, said
    context.close()


def test_it_loads_without_a_complaint_and_fits(
    opened: tuple[Any, list[str]], report: tuple[Path, list[str]]
) -> None:
    page, said = opened
    assert said == []
    drawn = page.eval_on_selector_all(
        "[data-chart]",
        "places => places.filter(p => p.querySelector('svg.main-svg')).map(p => p.dataset.chart)",
    )
    assert set(report[1]) < set(drawn)  # the charts, and the matrix
    assert page.evaluate("document.documentElement.scrollWidth") == page.viewport_size["width"]
    assert page.evaluate(
        "Array.from(document.images).every(image => image.complete && image.naturalWidth > 100)"
    )
    assert page.evaluate("window.attacked") is None
    assert " ".join(page.title().split()) == " ".join(HOSTILE.split())


def test_pointing_at_an_artist_shows_the_name(opened: tuple[Any, list[str]]) -> None:
    page, said = opened
    point = page.locator("[data-chart=figure-19-country] .scatterlayer path.point").nth(3)
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    shown = page.locator("[data-chart=figure-19-country] .hoverlayer .hovertext")
    shown.wait_for()
    text = " ".join(shown.text_content().split())
    assert text.startswith(" ".join(f"3 {HOSTILE}".split())[:60])
    assert page.evaluate("window.attacked") is None
    assert said == []


def test_what_is_drawn_can_be_seen(opened: tuple[Any, list[str]]) -> None:
    chart = opened[0].locator("[data-chart=figure-19-country]")
    picture = np.asarray(Image.open(io.BytesIO(chart.screenshot())).convert("RGB")).astype(int)
    assert (
        np.abs(picture - BLUE).max(axis=2) < 12
    ).sum() > 12 * 20  # twelve artists of one country
    assert (picture.min(axis=2) > 250).mean() > 0.8  # on white
    assert (picture.max(axis=2) < 90).sum() > 100  # axes and letters are dark


def test_even_markup_that_got_in_would_not_run(opened: tuple[Any, list[str]]) -> None:
    refused = """new Promise(done => {
        document.addEventListener("securitypolicyviolation", event => done(event.effectiveDirective));
        document.body.insertAdjacentHTML("beforeend", "<img src='data:image/png;base64,AAAA' onerror='window.attacked = 1'>");
    })"""
    assert opened[0].evaluate(refused) == "script-src-attr"
    assert opened[0].evaluate("window.attacked") is None
