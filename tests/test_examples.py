"""The examples for users' own methods and questions run as the README says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.columns_page import columns_page
from orchestrator.store import Store
from tests.orchestrator.constructed_study import ConstructedStudy

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "studies" / "examples"
OWN_METHOD = EXAMPLES / "own_method"


def _installed(folder: Path) -> dict[str, str]:
    """An environment in which the example is installed: its metadata beside the module, as pip leaves them."""
    metadata = folder / "random_pruning-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: random-pruning\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[paredown.methods]\nrandom_pruning = random_pruning:RandomPruning\n")
    (folder / "random_pruning.py").write_text((OWN_METHOD / "random_pruning.py").read_text())
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def _python(environment: dict[str, str], *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, timeout=280, check=False
    )


def test_the_readme_shows_the_example_of_a_method_as_it_is() -> None:
    source = (OWN_METHOD / "random_pruning.py").read_text()
    assert len(source.splitlines()) <= 55
    assert source.strip() in (ROOT / "README.md").read_text()


def test_its_package_names_the_entry_point_that_the_tests_install() -> None:
    text = (OWN_METHOD / "pyproject.toml").read_text()
    assert '[project.entry-points."paredown.methods"]\nrandom_pruning = "random_pruning:RandomPruning"' in text


def test_a_method_of_a_package_passes_the_contract_suite(tmp_path: Path) -> None:
    done = _python(
        _installed(tmp_path),
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/methods/test_contract.py", "-k", "random_pruning"),
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def test_the_page_of_columns_is_that_of_the_tables() -> None:
    mend = "python -m orchestrator.columns_page > studies/RESULTS.md"
    assert (ROOT / "studies" / "RESULTS.md").read_text() == columns_page(), mend


@pytest.mark.parametrize("name", ["ask_with_pandas", "ask_with_sql"])
def test_questions_are_answered_from_a_study_s_table(name: str, tmp_path: Path) -> None:
    pytest.importorskip({"ask_with_pandas": "pandas", "ask_with_sql": "duckdb"}[name])
    store = Store.open(str(tmp_path / "store"))
    ConstructedStudy(store).build()
    table = tmp_path / "store" / "studies" / "made_up" / "results.parquet"
    done = _python(dict(os.environ), str(EXAMPLES / f"{name}.py"), str(table))
    assert done.returncode == 0, done.stderr
    assert {"digits", "cifar10", "magnitude", "hypersparse"} <= set(done.stdout.split())


@pytest.mark.slow
def test_the_package_installs_and_a_study_runs_its_method(tmp_path: Path) -> None:
    study = """
study: own
tasks: {digits: {data: digits, network: small_cnn, epochs: 4, fraction: 0.2}}
methods: {dense: {search: none}, random_pruning: {search: {pruning_rate: [0.8, 0.9]}}}
seeds: [0, 1]
search: {trials: 2, confirm: 1, early_stopping: none}
executor: inline
tracking: none
"""
    (tmp_path / "own.yaml").write_text(study)
    environment = _installed(tmp_path / "site")
    run = "from orchestrator.cli import main; import sys; sys.argv = ['pare', 'run', 'own.yaml']; main()"
    done = _python(environment, "-c", run, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "random_pruning" in done.stdout
