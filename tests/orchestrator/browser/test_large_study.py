"""A study of 300 runs in MLflow's own pages: served whole and still usable."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.orchestrator.browser.conftest import LARGE, NUM_RUNS
from tests.orchestrator.browser.screens import shoot
from tests.orchestrator.browser.test_mlflow_pages import RUN_LINKS, names

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.orchestrator.browser.conftest import Tracked

pytestmark = [pytest.mark.service, pytest.mark.browser]


def test_all_runs_can_be_paged_through_under_their_parent(tracked: Tracked, page: Page, tmp_path: Path) -> None:
    page.goto(tracked.url(LARGE, "runs"))
    page.locator(RUN_LINKS).first.wait_for()
    page.locator(".ag-row[row-index='0'] button").first.click()
    page.locator(RUN_LINKS).nth(1).wait_for()
    more = page.get_by_role("button", name="Load more")
    shown = [int(re.findall(r"\d+", page.get_by_text("matching runs").inner_text())[0])]
    while shown[-1] < NUM_RUNS + 1:
        # The table draws its end only when one gets there.
        page.locator(".ag-body-viewport").first.evaluate("body => { body.scrollTop = body.scrollHeight }")
        more.click()
        page.wait_for_function(
            "before => parseInt([...document.querySelectorAll('*')].filter(e => e.children.length <= 1 && "
            "/^\\d+ matching runs$/.test(e.innerText))[0]?.innerText) > before",
            arg=shown[-1],
        )
        shown.append(int(re.findall(r"\d+", page.get_by_text("matching runs").inner_text())[0]))
    assert shown[-1] == NUM_RUNS + 1  # and their parent
    shoot(page, tmp_path / "runs.png")


def test_a_trial_is_found_and_the_best_come_first(tracked: Tracked, page: Page, tmp_path: Path) -> None:
    page.goto(tracked.url(LARGE, "runs", viewStateShareKey="confirmed-digits"))
    page.locator(RUN_LINKS).first.wait_for()
    best = max(tracked.runs(LARGE, "tags.phase = 'confirm'"), key=lambda run: run.data.metrics["val_accuracy"])
    assert names(page)[0] == best.info.run_name
    assert "100 matching runs" in page.locator("body").inner_text().replace("\n", " ")
    for column in ("size_ratio", "stored_bytes", "test_accuracy", "val_accuracy", "method"):
        page.get_by_role("columnheader", name=column).first.wait_for()
    shoot(page, tmp_path / "confirmed.png")
    search = page.get_by_test_id("search-box")
    search.fill("tags.method = 'scratch' and tags.trial = '4'")
    search.press("Enter")
    page.locator(RUN_LINKS).filter(has_text="scratch #4 seed 2").wait_for()
    seeds = [f"scratch #4 seed {seed}" for seed in (0, 1, 2)]
    assert sorted(names(page)) == sorted([*seeds, "scratch #4 seed 0 search"])
