"""A study from its file to its views, broken off in every phase: nothing lost, nothing twice, the test opened once."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from methods import registry
from orchestrator import run_study
from orchestrator.errors import StoreFull, StudyInvalid
from orchestrator.executors.inline import InlineExecutor
from orchestrator.progress import SilentProgress
from orchestrator.spec import Study
from orchestrator.spec.study_file import parse_study
from orchestrator.store import Store, files
from orchestrator.store.study_folder import StudyFolder
from tests.integration.studies import Raises
from tests.methods.data.image_files import write_folder

DIGITS = "{data: digits, network: small_cnn, epochs: 2, fraction: 0.1}"
METHODS = "{dense: {search: none}, magnitude: {search: {pruning_rate: [0.8, 0.95]}}}"


def _study(store: Path, *, task: str = DIGITS, methods: str = METHODS, more: str = "budget: {}") -> Study:
    lines = [
        "study: tiny",
        f"tasks: {{it: {task}}}",
        f"methods: {methods}",
        "seeds: [0, 1]",
        "search: {trials: 2, confirm: 1, early_stopping: none, sampler: random}",
        "executor: inline",
        "tracking: none",
        f"store: {store}",
        more,
    ]
    return parse_study("\n".join(lines), file="tiny.yaml")


def _folder(study: Study) -> StudyFolder:
    return Store.open(study.store).study(study.name)


def _written(study: Study) -> dict[str, int]:
    """Key -> when its outcome was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in Path(study.store).glob("runs/*/outcome.json")}


def _ledger(study: Study) -> list[tuple[str, str, str]]:
    return [(record.id, record.status, record.run.key) for record in _folder(study).records()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = _study(tmp_path_factory.mktemp("store"))
    assert run_study(study).status == "finished"
    return study


def _fails_at(call: int, step: Callable[..., Any], error: BaseException, *, ever_after: bool) -> Callable[..., Any]:
    """`step`, but its `call`-th time (from 1) raises `error`, and with `ever_after` all later ones."""
    calls = 0

    def failing(*args: Any, **fields: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call or (ever_after and calls > call):
            raise error
        return step(*args, **fields)

    return failing


# Of eleven waits three are for the search, two for the other seed, four for the test and two for the timing.
@pytest.mark.parametrize(("wait", "phase"), [(1, "search"), (3, "search"), (4, "confirm"), (6, "test"), (11, "test")])
def test_interrupted_in_any_phase_a_study_has_its_views_and_goes_on(
    wait: int, phase: str, undisturbed: Study, tmp_path: Path
) -> None:
    study = _study(tmp_path)
    with pytest.MonkeyPatch.context() as patched:
        step = _fails_at(wait, InlineExecutor.wait, KeyboardInterrupt(), ever_after=False)
        patched.setattr(InlineExecutor, "wait", step)
        summary = run_study(study)
    assert (summary.status, summary.exit_code) == ("interrupted", 130)
    assert list(summary.phase_seconds)[-1] == phase
    assert _folder(study).read_file("results.parquet") is not None
    assert bool(summary.report) == (wait > 1)
    assert _folder(study).read_test() is None
    before = _written(study)
    assert run_study(study).status == "finished"
    assert {key: time for key, time in _written(study).items() if key in before} == before
    assert _ledger(study) == _ledger(undisturbed)
    sheets = [_folder(each).read_test() or {} for each in (study, undisturbed)]
    assert set(sheets[0]["rows"]) == set(sheets[1]["rows"])


def _results(store: Path) -> list[tuple[str, int, float, float]]:
    table = pq.read_table(store / "studies/tiny/results.parquet").to_pylist()
    return [(row["method"], row["seed"], row["val_score"], row["test_score"]) for row in table]


@pytest.mark.parametrize("closed", [False, True])
def test_a_run_that_somebody_deleted_is_trained_again_of_a_closed_study_too(closed: bool, tmp_path: Path) -> None:
    study = _study(tmp_path)
    run_study(study)
    folder = _folder(study)
    if not closed:
        (tmp_path / "studies/tiny/test.json").unlink()
    ledger, before, results = _ledger(study), _written(study), _results(tmp_path)
    lost = next(record.run.key for record in folder.records() if record.run.method == "magnitude")
    shutil.rmtree(tmp_path / "runs" / lost)
    told = _Messages()
    assert run_study(study, observer=told).status == "finished"
    assert any("1 finished runs are not in the store" in message for message in told.heard)
    assert _ledger(study) == ledger
    assert {key: at for key, at in _written(study).items() if key != lost} == {
        key: at for key, at in before.items() if key != lost
    }
    assert _results(tmp_path) == results


# The writes of an outcome, a record, the choice of runs to test, what the test said, and the results table.
@pytest.mark.parametrize("write", [9, 17, 41, 48, 50])
def test_a_full_disk_is_told_with_its_mend_and_loses_nothing(write: int, undisturbed: Study, tmp_path: Path) -> None:
    study = _study(tmp_path)
    with pytest.MonkeyPatch.context() as patched:
        full = OSError(errno.ENOSPC, "No space left on device")
        patched.setattr(files, "_write_part", _fails_at(write, files._write_part, full, ever_after=True))
        with pytest.raises(StoreFull, match=r"No space left on device; free some space .*`pare resume`"):
            run_study(study)
    before = _written(study)
    assert run_study(study).status == "finished"
    assert {key: time for key, time in _written(study).items() if key in before} == before
    assert _ledger(study) == _ledger(undisturbed)


def test_extra_seeds_come_before_the_test_which_opens_for_them_too(tmp_path: Path) -> None:
    methods = METHODS.replace("}}}", "}}, snip: {search: {pruning_rate: [0.8, 0.95]}}}")
    study = _study(tmp_path, methods=methods)
    study = study.with_changes(
        search=study.search.model_copy(update={"extra_seeds": 1}),
        source_text=study.source_text.replace("confirm: 1", "confirm: 1, extra_seeds: 1"),
    )
    done = run_study(study)
    assert list(done.phase_seconds) == ["search", "confirm", "extra seeds", "test"]
    # Two seeds leave intervals of 13 standard deviations and more, so the two methods overlap.
    extra = [record for record in _folder(study).records() if record.seed == 2]
    assert {(record.method, record.phase) for record in extra} == {("magnitude", "confirm"), ("snip", "confirm")}
    sheet = _folder(study).read_test()
    assert sheet is not None
    tested = {key.partition("/")[0] for key in sheet["rows"]}
    assert {record.run.key for record in extra} <= tested
    assert any("Extra seeds: 2 further runs (seeds 2)" in line for line in done.lines)


def test_once_runs_are_chosen_for_the_test_a_larger_budget_searches_no_more(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            StudyFolder, "put_test", _fails_at(1, StudyFolder.put_test, KeyboardInterrupt(), ever_after=True)
        )
        assert run_study(_study(tmp_path, more="budget: {trials: 2}")).status == "interrupted"
    study = _study(tmp_path, more="budget: {trials: 3}")
    before = _ledger(study)
    assert run_study(study).status == "finished"
    assert _ledger(study) == before
    assert _folder(study).read_test() is not None


def test_wall_minutes_of_earlier_executions_are_spent(tmp_path: Path) -> None:
    study = _study(tmp_path, more="budget: {wall_minutes: 5}")
    _folder(study).write_file("timings.json", json.dumps({"search": 200.0, "confirm": 100.0}).encode())
    assert run_study(study).status == "budget_spent"
    assert _ledger(study) == []


class _Messages(SilentProgress):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def message(self, text: str) -> None:
        self.heard.append(text)


@pytest.fixture
def _raising(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._registered, "raises", Raises)


@pytest.mark.usefixtures("_raising")
def test_the_test_split_stays_locked_when_there_is_nothing_to_test(tmp_path: Path) -> None:
    study = _study(tmp_path, methods="{raises: {search: none}}")
    observer = _Messages()
    summary = run_study(study, observer=observer)
    assert (summary.exit_code, summary.failed) == (1, 1)
    assert _folder(study).read_test() is None
    assert any("stays locked" in message for message in observer.heard)


@pytest.mark.usefixtures("_raising")
def test_a_study_is_not_gone_on_with_on_other_samples(tmp_path: Path) -> None:
    write_folder(tmp_path / "images", ["one", "two"], count=12)
    task = f"{{data: {{source: image_folder, path: {tmp_path / 'images'}}}, network: small_cnn, epochs: 1}}"
    study = _study(tmp_path / "store", task=task, methods="{raises: {search: none}}")
    run_study(study)
    (tmp_path / "images" / "one" / "0.png").unlink()
    with pytest.raises(StudyInvalid, match=r"tiny\.yaml:2: tasks\.it: the samples are not those .*restore them"):
        run_study(study)


@pytest.mark.usefixtures("_raising")
@pytest.mark.parametrize(
    "data", ["FOLDER", "{source: mixture, parts: [FOLDER, {source: digits, image_shape: [3, 6, 5]}]}"]
)
def test_a_study_is_gone_on_with_when_its_samples_have_moved(data: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "images", ["one", "two"], count=12)
    task = f"{{data: {data}, network: small_cnn, epochs: 1}}".replace("{", "{{").replace("}", "}}")
    task = task.replace("FOLDER", "{{source: image_folder, path: {}}}")
    fields = {"methods": "{raises: {search: none}}"}
    run_study(_study(tmp_path / "store", task=task.format(tmp_path / "images"), **fields))
    (tmp_path / "images").rename(tmp_path / "moved")
    moved = _study(tmp_path / "store", task=task.format(tmp_path / "moved"), **fields)
    assert run_study(moved).failed == 1
    assert _folder(moved).read_spec() == moved.source_text


@pytest.mark.usefixtures("_raising")
def test_a_study_is_not_gone_on_with_by_another_version_of_a_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = _study(tmp_path, methods="{raises: {search: none}}")
    run_study(study)
    monkeypatch.setattr(Raises, "version", 2)
    with pytest.raises(StudyInvalid, match=r"methods\.raises: .* version 1 of 'raises', installed is version 2"):
        run_study(study)
