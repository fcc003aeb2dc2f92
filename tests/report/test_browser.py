"""The page in a real browser: no error, no request, hover texts, phone layout, no code run."""

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
# "required" makes a missing browser a failure instead of a skip. CI sets it.
VARIABLE = "MUSICREC_TEST_BROWSER"
FLAGS = (
    "--no-sandbox",  # the sandbox does not work as root
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
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        reason = (
            f"none of {', '.join(BROWSERS)} is installed (apt-get install chromium): "
            "the report is not opened in a browser"
        )
        if os.environ.get(VARIABLE) == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Write a report whose names are attacks; return its path and charts."""
    sections = hostile_sections()
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(HEAD, sections, {}, DETAILS), encoding="utf-8")
    return path, charts(sections)


@pytest.fixture(scope="module", params=["desktop", "phone"])
def opened(
    request: pytest.FixtureRequest, browser: Any, report: tuple[Path, list[str]]
) -> Iterator[tuple[Any, list[str]]]:
    """Return the page once all charts are drawn, and the browser's messages."""
    phone = request.param == "phone"
    context = browser.new_context(
        viewport=PHONE if phone else DESKTOP, has_touch=phone, is_mobile=phone
    )
    page, events = context.new_page(), []
    page.on("console", lambda message: events.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: events.append(f"error: {error}"))
    page.on("dialog", lambda dialog: events.append(f"dialog: {dialog.message}"))
    page.on(
        "request",
        lambda request: (
            events.append(f"request: {request.url}")
            if not request.url.startswith(("file:", "data:"))
            else None
        ),
    )
    page.goto(report[0].as_uri())
    page.wait_for_selector("html[data-drawn=yes]")
    yield page, events
    context.close()


def test_it_loads_without_messages_and_fits(
    opened: tuple[Any, list[str]], report: tuple[Path, list[str]]
) -> None:
    page, events = opened
    assert events == []
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
    page, events = opened
    point = page.locator("[data-chart=figure-19-country] .scatterlayer path.point").nth(3)
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    shown = page.locator("[data-chart=figure-19-country] .hoverlayer .hovertext")
    shown.wait_for()
    text = " ".join(shown.text_content().split())
    assert text.startswith(" ".join(f"3 {HOSTILE}".split())[:60])
    assert page.evaluate("window.attacked") is None
    assert events == []


def test_what_is_drawn_can_be_seen(opened: tuple[Any, list[str]]) -> None:
    chart = opened[0].locator("[data-chart=figure-19-country]")
    image = np.asarray(Image.open(io.BytesIO(chart.screenshot())).convert("RGB")).astype(int)
    assert (np.abs(image - BLUE).max(axis=2) < 12).sum() > 12 * 20  # twelve artists of one country
    assert (image.min(axis=2) > 250).mean() > 0.8  # on white
    assert (image.max(axis=2) < 90).sum() > 100  # axes and letters are dark


def test_even_markup_that_got_in_would_not_run(opened: tuple[Any, list[str]]) -> None:
    refused = """new Promise(done => {
        document.addEventListener(
            "securitypolicyviolation", event => done(event.effectiveDirective)
        );
        document.body.insertAdjacentHTML(
            "beforeend", "<img src='data:image/png;base64,AAAA' onerror='window.attacked = 1'>"
        );
    })"""
    assert opened[0].evaluate(refused) == "script-src-attr"
    assert opened[0].evaluate("window.attacked") is None
