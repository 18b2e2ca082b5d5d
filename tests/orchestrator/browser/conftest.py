"""A headless Chromium, and MLflow's own pages of two studies: a small one really trained, a large one made up."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from methods.artefact import encode
from methods.networks.build import build_network
from methods.surgery import deploy
from orchestrator import run_study
from orchestrator.report import write_report
from orchestrator.spec import Study
from orchestrator.store import Store
from orchestrator.tracking import sync
from orchestrator.tracking_server import DATABASE, tracking_server
from tests.integration.studies import small_study
from tests.orchestrator.constructed_study import ConstructedStudy

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

LARGE = "made_up"
NUM_RUNS = 300
"""Of the large study: searched and confirmed runs of three methods, and the dense network on three seeds."""
_PATIENCE_MS = 60_000
"""Two processes train beside these tests on a bad day."""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Ends with this folder: while it is open, this thread has an event loop that is running."""
    sync_api = pytest.importorskip("playwright.sync_api", reason='no browser driver: pip install -e ".[dev]"')
    found = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
    if not found:
        pytest.skip("no browser: apt install chromium")
    with sync_api.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found[0])
        yield opened
        opened.close()


@dataclass(frozen=True)
class Tracked:
    """MLflow's server on a store with both studies."""

    address: str
    """Ends in a slash."""
    store: Store
    small: Study
    client: Any

    def experiment_id(self, study: str) -> str:
        return str(self.client.get_experiment_by_name(study).experiment_id)

    def runs(self, study: str, condition: str) -> list[Any]:
        return list(self.client.search_runs([self.experiment_id(study)], condition, max_results=1000))

    def url(self, study: str, place: str, **query: str) -> str:
        """Address of a page of an experiment; `place` is `runs`, `models`, ..."""
        more = "".join(f"&{name}={value}" for name, value in query.items())
        path = f"#/experiments/{self.experiment_id(study)}/{place}"
        return f"{self.address}{path}?workflowType=machine_learning{more}"


@pytest.fixture(scope="package")
def tracked(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracked]:
    del browser  # without one nothing is trained for it
    folder = tmp_path_factory.mktemp("store")
    small = small_study(folder, tracking="sqlite")
    assert run_study(small).tracking_problem == ""
    store = Store.open(str(folder))
    build_large(store)
    sync(store, LARGE, "sqlite")
    with tracking_server(folder) as (page, _):
        from mlflow import MlflowClient

        uri = f"sqlite:///{folder / DATABASE}"
        yield Tracked(page.partition("#")[0], store, small, MlflowClient(tracking_uri=uri, registry_uri=uri))


def build_large(store: Store) -> None:
    """The made-up study with its report; every run has a network and curves."""
    study = ConstructedStudy(store, name=LARGE)
    study.trials = 39
    network = build_network("small_cnn", input_shape=(1, 8, 8), num_outputs=10, width=0.25, seed=0)
    study.artefact = encode(deploy(network))
    study.build({"digits": 0.981})
    assert len(store.study(LARGE).records()) == NUM_RUNS
    write_report(store, LARGE)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh tab."""
    context = browser.new_context(viewport={"width": 1500, "height": 1200})
    context.set_default_timeout(_PATIENCE_MS)
    # MLflow's assistant opens itself over a quarter of the first page.
    context.add_init_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
    opened = context.new_page()
    yield opened
    context.close()
