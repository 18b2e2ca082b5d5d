"""A headless browser for pages that people look at, and a real study to look at."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator import run_study
from orchestrator.tracking_server import tracking_server
from tests.integration.studies import small_study

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_EXECUTABLES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium of the system, driven by playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason='playwright is missing: pip install -e ".[dev]"')
    found = next((path for name in _EXECUTABLES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser is installed ({', '.join(_EXECUTABLES)}); apt-get install chromium")
    with playwright.sync_playwright() as driver:
        # Without a sandbox, which root has none of; it sees our own pages alone.
        opened = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield opened
        finally:
            opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1500, "height": 1000})
    try:
        yield opened
    finally:
        opened.close()


@dataclass(frozen=True)
class Reviewed:
    """A finished study, and MLflow's own pages of it."""

    store: Path
    address: str

    def at(self, place: str) -> str:
        """Address of a place within MLflow's pages."""
        return f"{self.address.partition('#')[0]}#{place}"


@pytest.fixture(scope="package")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    store = tmp_path_factory.mktemp("reviewed") / "store"
    summary = run_study(small_study(store, tracking="sqlite"))
    assert summary.status == "finished"
    with tracking_server(store) as (address, _):
        yield Reviewed(store, address)
