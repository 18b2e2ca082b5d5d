"""The report in a browser: no sideways scrolling, keyboard, contrast, paper, size."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.report import write_report
from orchestrator.store import Store
from tests.orchestrator.constructed_study import SWEEP, ConstructedStudy

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.service

_SMALLEST_CONTRAST = 4.5
"""For text, by the Web Content Accessibility Guidelines (level AA)."""

_CONTRASTS = """
() => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const found = parse(getComputedStyle(node).backgroundColor);
      if (found.length < 4 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const found = {};
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    const text = parse(node.closest('svg') ? style.fill : style.color);
    const [a, b] = [light(text), light(behind(node.closest('svg') || node))].sort((x, y) => y - x);
    const key = `${node.tagName}.${node.className.baseVal ?? node.className}`;
    const ratio = (a + 0.05) / (b + 0.05);
    if (!(key in found) || ratio < found[key]) found[key] = ratio;
  }
  return found;
}
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of about 300 runs, class modules among them."""
    store = Store.open(str(tmp_path_factory.mktemp("report")))
    study = ConstructedStudy(store, seeds=(0, 1, 2, 3))
    study.trials = 16
    study.sweep = SWEEP
    study.build()
    study.fail("digits", "hypersparse", trial=20, seed=0, reason="epoch 7: the loss became nan")
    study.write_results()
    assert len(store.study("made_up").records()) > 250
    return write_report(store, "made_up")


@pytest.mark.parametrize("width", [1280, 420])
def test_nothing_but_tables_scrolls_sideways(page: Page, report: Path, width: int, tmp_path: Path) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(report.as_uri())
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    page.screenshot(path=str(tmp_path / "page.png"), full_page=True)
    assert wide <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(browser: Browser, report: Path, scheme: str) -> None:
    page = browser.new_page(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(report.as_uri())
    contrasts = page.evaluate(_CONTRASTS)
    page.close()
    assert len(contrasts) > 10
    assert {kind: round(ratio, 2) for kind, ratio in contrasts.items() if ratio < _SMALLEST_CONTRAST} == {}


def test_everything_that_opens_or_leads_elsewhere_is_reached_by_keyboard(page: Page, report: Path) -> None:
    page.goto(report.as_uri())
    wanted = page.locator("nav a").count() + 1
    reached = set()
    for _ in range(wanted):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.outerHTML.slice(0, 200)"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", "where the keyboard is, can be seen"
    assert len(reached) == wanted
    summary = page.locator("summary").first
    opened = page.locator("details[open]").count()
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("details[open]").count() == opened + 1


def test_it_prints_on_paper_and_stays_small(page: Page, report: Path) -> None:
    page.goto(report.as_uri())
    printed = page.pdf(format="A4", landscape=True)
    pages = len(re.findall(rb"/Type\s*/Page\b", printed))
    assert 2 <= pages <= 60
    assert report.stat().st_size < 5_000_000
