"""A stored run is repeated only where it can come out the same; else the user is told why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from methods import registry
from methods.data.load import load_dataset
from methods.dense import Dense
from methods.task_spec import DataSpec
from orchestrator.errors import DataProblem, RunFailed, StoreProblem, UnknownRecord
from orchestrator.execution import execute
from orchestrator.rerun import rerun
from orchestrator.runs import Run
from orchestrator.store import Store
from orchestrator.work import Work, WorkerSettings
from tests.fakes import a_result, a_run, a_task
from tests.integration.studies import Raises

SPEC = a_task(fraction=0.1, epochs=2)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


def _run(method: str, **config: Any) -> Run:
    fingerprint = load_dataset(SPEC.data, test_share=SPEC.test_share).fingerprint
    return Run(task_name="digits", task=SPEC, data_fingerprint=fingerprint, method=method, config=config, seed=0)


def test_a_run_is_repeated_with_its_prerequisites_and_the_first_store_is_only_read(
    store: Store, tmp_path: Path
) -> None:
    from methods.tasks import prepare

    data = prepare(SPEC, load_dataset(SPEC.data, test_share=SPEC.test_share))
    run = _run("magnitude", start="dense")
    for wanted in (run.of("dense", {}), run):
        execute(Work(wanted), data, WorkerSettings(store.uri), lambda _: False)
    before = sorted(Path(store.uri).rglob("*"))
    again = rerun(run.key, store=store, into=tmp_path / "again")
    assert again.repeated.variants == again.recorded.variants
    assert sorted(Store.open(again.store).finished_keys()) == sorted([run.key, run.of("dense", {}).key])
    assert sorted(Path(store.uri).rglob("*")) == before


@pytest.mark.parametrize(("given", "used"), [(None, "2"), (1, "1")])
def test_a_run_is_repeated_with_as_many_threads_as_were_recorded(
    given: int | None, used: str, store: Store, tmp_path: Path
) -> None:
    run = _run("dense")
    recorded = a_result(run).model_copy(update={"environment": {"device": "cpu", "threads": "2"}})
    store.put_outcome(recorded)
    again = rerun(run.key, store=store, into=tmp_path / "again", threads=given)
    assert again.repeated.environment["threads"] == used


def test_an_unknown_key_says_where_keys_are_found(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UnknownRecord, match=r"store: no finished run nonsense; a study's report and results"):
        rerun("nonsense", store=store, into=tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_changed_data_are_refused_with_both_fingerprints(store: Store, tmp_path: Path) -> None:
    run = a_run()
    store.put_outcome(a_result(run))
    with pytest.raises(DataProblem, match=f"run {run.key}: its data set was ffffffffffff, the one here is [0-9a-f]+"):
        rerun(run.key, store=store, into=tmp_path / "again")


def test_missing_data_are_named(store: Store, tmp_path: Path) -> None:
    data = DataSpec(source="image_folder", path=str(tmp_path / "gone"))
    run = a_run().replaced(task=a_task(data=data))
    store.put_outcome(a_result(run))
    with pytest.raises(DataProblem, match=f"run {run.key}: .*gone"):
        rerun(run.key, store=store, into=tmp_path / "again")


def test_a_run_is_not_repeated_into_its_own_store(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run("dense")
    store.put_outcome(a_result(run))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreProblem, match="holds the recorded run itself"):
        rerun(run.key, store=store, into=Path("store"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 9}, "made by version 9 of 'dense', here is version 1"),
        ({"method": "gone"}, "unknown method 'gone'"),
    ],
)
def test_a_run_of_another_version_is_refused(
    changes: dict[str, Any], message: str, store: Store, tmp_path: Path
) -> None:
    run = _run("dense").replaced(**({"version": 1} | changes))
    store.put_outcome(a_result(run))
    with pytest.raises(RunFailed, match=f"run {run.key}: {message}"):
        rerun(run.key, store=store, into=tmp_path / "again")


def test_a_run_that_fails_now_says_why(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Once(Dense):
        name = "raises"

    monkeypatch.setitem(registry._registered, "raises", Once)
    run = _run("raises")
    store.put_outcome(a_result(run))
    monkeypatch.setitem(registry._registered, "raises", Raises)
    with pytest.raises(RunFailed, match=f"run {run.key}: KeyError: .*a fault in the method's code"):
        rerun(run.key, store=store, into=tmp_path / "again")
