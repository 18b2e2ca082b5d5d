"""The report in a real browser: on wide and narrow screens, by keyboard, light and dark, on paper, at 300 runs."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pypdf import PdfReader

from methods.figures import Line, LineChart
from orchestrator.report import write_report
from orchestrator.store import Store
from tests.orchestrator.browser.conftest import LARGE, build_large
from tests.orchestrator.browser.screens import shoot
from tests.orchestrator.constructed_study import SWEEP, ConstructedStudy

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

MOST_BYTES = 5_000_000
MINIMUM_CONTRAST = 4.5
"""Of text and what it stands on: success criterion 1.4.3 of the Web Content Accessibility Guidelines, level AA."""
CONTRASTS = (Path(__file__).parent / "contrasts.js").read_text(encoding="utf-8")
A4_LANDSCAPE = {"width": 1039, "height": 720}
"""Of the page's content in CSS pixels, 96 to the inch, within margins of 11 mm."""


@pytest.fixture(scope="module")
def report(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with everything on it: two tasks, class modules, curves of a method, failures."""
    del browser
    store = Store.open(str(tmp_path_factory.mktemp("report")))
    study = ConstructedStudy(store)
    study.sweep = SWEEP
    study.build()
    study.fail("digits", "hypersparse", trial=20, seed=0, reason="epoch 7: the loss became nan " + "and so on " * 30)
    line = Line(label="pull on the weights of one layer", x=(1.0, 2.0, 3.0), y=(0.5, 0.7, 0.2))
    chart = LineChart(name="pull", title="Pull", x_label="epoch", y_label="pull", lines=(line, line))
    for key in store.finished_keys():
        store.put_figures(key, (chart,))
    study.write_results()
    return write_report(store, study.name)


@pytest.fixture
def opened(report: Path, page: Page) -> Iterator[Page]:
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: faults.append(request.url) if not request.url.startswith("file:") else None)
    page.goto(report.as_uri())
    yield page
    assert faults == []  # it says nothing to nobody


def open_all(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")


def too_wide(page: Page) -> list[str]:
    """Elements that reach beyond the page's right edge and lie in nothing that scrolls."""
    found: list[str] = page.evaluate(
        """() => [...document.body.querySelectorAll('*')]
            .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
            .filter(one => !one.closest('.wide') && !one.closest('svg'))
            .map(one => one.outerHTML.slice(0, 120))"""
    )
    return found


@pytest.mark.parametrize("width", [1280, 420])
@pytest.mark.parametrize("details", ["closed", "open"])
def test_the_page_never_scrolls_sideways(opened: Page, tmp_path: Path, width: int, details: str) -> None:
    opened.set_viewport_size({"width": width, "height": 900})
    if details == "open":
        open_all(opened)
    shoot(opened, tmp_path / f"{width}.png")
    assert too_wide(opened) == []
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    # What is wider than the page is a table, and it scrolls by itself.
    scrolling = opened.evaluate("[...document.querySelectorAll('.wide')].map(one => getComputedStyle(one).overflowX)")
    assert set(scrolling) == {"auto"}


def focused(page: Page) -> dict[str, Any]:
    """What has the focus, its place among all elements, and whether one sees that."""
    found: dict[str, Any] = page.evaluate(
        """() => {
            const one = document.activeElement;
            const style = getComputedStyle(one), box = one.getBoundingClientRect();
            const drawn = getComputedStyle(one.querySelector('circle, polygon') ?? one);
            return {
                tag: one.tagName,
                place: [...document.querySelectorAll('*')].indexOf(one),
                outline: style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth),
                stroke: drawn.strokeWidth,
                point: one.closest('svg') !== null,
                inside: box.bottom > 0 && box.top < innerHeight,
            };
        }"""
    )
    return found


def test_everything_is_reached_by_tab_and_seen_to_be(opened: Page) -> None:
    expected: list[int] = opened.evaluate(
        """() => {
            const all = [...document.querySelectorAll('*')];
            const seen = one => one.checkVisibility() && !one.matches('details:not([open]) *:not(summary)');
            const takesFocus = one => one.matches('a[href], summary, [tabindex="0"]') && seen(one);
            return all.flatMap((one, place) => takesFocus(one) ? place : []);
        }"""
    )
    assert len(expected) > 60
    reached = []
    for _ in range(2 * len(expected)):
        opened.keyboard.press("Tab")
        now = focused(opened)
        if now["tag"] == "BODY" or now["place"] in reached:  # once around
            break
        reached.append(now["place"])
        assert now["inside"]
        assert now["outline"] >= 2 or now["point"], now
    assert [place for place in expected if place not in reached] == []
    assert [place for place in reached if place in expected] == sorted(expected)


def test_details_open_and_close_by_enter_and_a_point_leads_to_its_row(opened: Page) -> None:
    summaries = opened.locator("summary")
    assert summaries.count() > 3
    for index in range(summaries.count()):
        summary = summaries.nth(index)
        if not summary.is_visible():
            continue
        summary.focus()
        for expected in (True, False):
            opened.keyboard.press("Enter")
            assert summary.evaluate("one => one.parentElement.open") is expected
    point = opened.locator("svg a").first
    point.focus()
    opened.keyboard.press("Enter")
    target = point.get_attribute("href")
    assert target is not None
    row = opened.locator(f"[id='{target.removeprefix('#')}']")
    assert row.evaluate("one => one.matches(':target') && one.getBoundingClientRect().top < innerHeight")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_it_stands_on(opened: Page, tmp_path: Path, scheme: Any) -> None:
    opened.emulate_media(color_scheme=scheme)
    open_all(opened)
    paper = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 150) == (scheme == "dark")
    shoot(opened, tmp_path / f"{scheme}.png")
    texts = opened.evaluate(CONTRASTS)
    assert len(texts) > 500
    assert [one for one in texts if one["contrast"] < MINIMUM_CONTRAST] == []


def test_it_prints_readably(opened: Page, tmp_path: Path) -> None:
    opened.emulate_media(media="print", color_scheme="dark")
    opened.set_viewport_size(A4_LANDSCAPE)  # type: ignore[arg-type]
    assert opened.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 36)"
    beyond = opened.evaluate(
        """() => [...document.querySelectorAll('body *')]
            .filter(one => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1)
            .map(one => one.outerHTML.slice(0, 120))"""
    )
    assert beyond == []
    printed = opened.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    pages = PdfReader(io.BytesIO(printed)).pages
    assert 4 <= len(pages) <= 30
    assert all(one.mediabox.width > one.mediabox.height for one in pages)
    # Some fonts have a single glyph for the first two letters of "fit".
    extracted = unicodedata.normalize("NFKC", " ".join(one.extract_text() for one in pages))
    text = re.sub(r"\s+", " ", extracted)
    for said in ("What it says", "At equal size", "hypersparse", "Who differs from whom", "Where it was made"):
        assert said in text, said
    assert "one by one" not in text  # all runs are a matter of the screen


def test_the_page_of_300_runs_is_small_and_opens(page: Page, tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    build_large(store)
    report = tmp_path / "store" / "studies" / LARGE / "report.html"
    assert report.stat().st_size < MOST_BYTES
    page.goto(report.as_uri())
    page.locator("#runs summary").first.click()
    assert page.locator("#runs tbody tr").count() == 300
    page.locator("#runs tbody tr").last.scroll_into_view_if_needed()
    shoot(page, tmp_path / "runs.png")
