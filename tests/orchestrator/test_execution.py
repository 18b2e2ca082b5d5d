"""One piece of work in this process, through a real store: going on after a break, failures, what is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from methods import artefact, registry
from methods.contract import Given, Monitor, Outcome, Prerequisite, Task, TaskInfo, TrainingDiverged, UnsupportedTask
from methods.contract import Variant as Delivered
from methods.data.load import load_dataset
from methods.figures import Figure, Line, LineChart
from methods.measure import SparseExecution
from methods.tasks import TaskData, prepare
from methods.training.checkpoints import pack
from methods.training.config import TrainingConfig
from orchestrator.errors import StoreProblem
from orchestrator.execution import StoreMonitor, execute
from orchestrator.runs import Run, RunResult
from orchestrator.store import Store
from orchestrator.work import Completion, Report, Work, WorkerSettings
from tests.fakes import a_result, a_run, a_task

SPEC = a_task(fraction=0.1, epochs=4)


@pytest.fixture(scope="module")
def data() -> TaskData:
    return prepare(SPEC, load_dataset(SPEC.data, test_share=SPEC.test_share))


def _run(data: TaskData, method: str, **config: Any) -> Run:
    return Run(task_name="digits", task=SPEC, data_fingerprint=data.fingerprint, method=method, config=config, seed=0)


class _Bench:
    """A store and a worker in this process that writes every checkpoint unless told otherwise."""

    def __init__(self, place: Path, data: TaskData) -> None:
        self.store = Store.open(str(place))
        self.data = data

    def __call__(
        self,
        run: Run,
        *,
        judge: Callable[[Report], bool] = lambda _: False,
        kind: Any = "fit",
        checkpoint_seconds: float = 0.0,
        threads: int = 1,
    ) -> Completion:
        settings = WorkerSettings(self.store.uri, threads=threads, checkpoint_seconds=checkpoint_seconds)
        return execute(Work(run, kind), self.data, settings, judge)

    def weights(self, run: Run, label: str) -> bytes:
        return self.store.read_variant(run.key, label).weights

    def curves(self, run: Run) -> list[dict[str, Any]]:
        table = self.store.read_curves(run.key)
        assert table is not None
        return table.to_pylist()  # type: ignore[no-any-return]


@pytest.fixture
def bench(tmp_path: Path, data: TaskData) -> _Bench:
    return _Bench(tmp_path / "store", data)


class Method:
    """Delivers what it is told to, without training."""

    name = "method"
    version = 1
    Config = TrainingConfig
    needs: tuple[Prerequisite, ...] = ()

    def __init__(self, config: TrainingConfig) -> None:
        self.config = config

    def prerequisites(self) -> tuple[Prerequisite, ...]:
        return self.needs

    def check(self, info: TaskInfo) -> None:
        del info

    def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
        del given, monitor
        return Outcome(variants=(Delivered("same", kind="whole", network=task.network()),), epochs=0)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Method]], None]:
    """Makes a method known under the name `method`."""
    return lambda method: monkeypatch.setitem(registry._registered, "method", method)


class Lost(BaseException):
    """Stands for a worker that is lost: nothing of ours catches it."""


def _lose_at(number: int) -> Callable[[Report], bool]:
    reports = 0

    def judge(report: Report) -> bool:
        nonlocal reports
        del report
        reports += 1
        if reports == number:
            raise Lost
        return False

    return judge


@pytest.mark.parametrize(("method", "label"), [("dense", "dense"), ("magnitude", "pruned")])
def test_a_run_that_breaks_off_after_a_checkpoint_ends_bit_for_bit_as_if_it_had_not(
    method: str, label: str, data: TaskData, tmp_path: Path
) -> None:
    run = _run(data, method)
    straight = _Bench(tmp_path / "straight", data)
    straight(run)
    for number in (1, 2, 3, 4):
        broken = _Bench(tmp_path / f"broken-{number}", data)
        with pytest.raises(Lost):
            broken(run, judge=_lose_at(number))
        assert broken.store.read_checkpoint(run.key) is not None
        assert broken.store.read_outcome(run.key) is None
        assert broken(run).status == "finished"
        assert broken.weights(run, label) == straight.weights(run, label)
        assert broken.curves(run) == straight.curves(run)
        assert broken.store.read_checkpoint(run.key) is None


def test_curves_are_whole_when_checkpoints_are_rare(bench: _Bench, data: TaskData) -> None:
    run = _run(data, "magnitude")
    with pytest.raises(Lost):
        bench(run, judge=_lose_at(1))  # leaves a checkpoint of the first of two phases
    bench(run, checkpoint_seconds=1e9)
    assert [row["epoch"] for row in bench.curves(run)] == [0, 1, 2, 3]


def test_a_monitor_tells_of_an_earlier_attempt_alone(bench: _Bench) -> None:
    def monitor() -> StoreMonitor:
        return StoreMonitor("key", bench.store, lambda _: False, checkpoint_seconds=0.0)

    first = monitor()
    assert first.resume() is None
    first.curve(0, loss=1.0)
    first.note("the first attempt")
    first.checkpoint({"phase": "one", "weights": torch.arange(3)})
    assert first.resume() is None
    second = monitor()
    earlier = second.resume()
    assert earlier is not None
    assert torch.equal(earlier["weights"], torch.arange(3))
    second.curve(1, loss=0.5)
    second.checkpoint({"phase": "two"})
    assert second.resume() is earlier
    assert second.curves == [{"epoch": 0, "loss": 1.0}, {"epoch": 1, "loss": 0.5}]
    assert second.notes == ["the first attempt"]


def test_a_checkpoint_that_cannot_be_read_costs_a_fresh_start_and_a_note(bench: _Bench, data: TaskData) -> None:
    run = _run(data, "dense")
    bench.store.put_checkpoint(run.key, b"from another program")
    result = bench(run).result
    assert result is not None
    assert "began anew" in result.notes[0]


def test_a_checkpoint_of_an_earlier_version_costs_a_fresh_start_and_a_note(bench: _Bench, data: TaskData) -> None:
    run = _run(data, "magnitude")
    # As it was written before masks were counted by step: magnitude would miss a key in it.
    state = {"phase": "finetune", "learner": {}, "carry": {"masks": []}}
    bench.store.put_checkpoint(run.key, pack({"method": state, "curves": [], "notes": []}))
    result = bench(run).result
    assert result is not None
    assert "of another version" in result.notes[0]


def test_a_run_stopped_early_drops_its_checkpoint_and_says_how_far_it_was(bench: _Bench, data: TaskData) -> None:
    run = _run(data, "dense")
    completion = bench(run, judge=lambda report: report.progress >= 0.5)
    assert completion.status == "stopped_early"
    assert completion.last_report is not None
    assert completion.last_report.progress == 0.5
    assert 0 < completion.last_report.accuracy <= 1
    assert bench.store.read_checkpoint(run.key) is None
    assert bench.store.read_outcome(run.key) is None


def test_a_finished_run_is_not_trained_again(
    bench: _Bench, data: TaskData, registered: Callable[[type[Method]], None]
) -> None:
    fits = []

    class Counting(Method):
        def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
            fits.append(task.seed)
            return super().fit(task, given, monitor)

    registered(Counting)
    run = _run(data, "method")
    first, second = bench(run), bench(run)
    assert fits == [0]
    assert second.result == first.result is not None


def test_of_two_studies_that_did_one_run_at_a_time_both_get_the_first_result(
    bench: _Bench, data: TaskData, registered: Callable[[type[Method]], None]
) -> None:
    class Overtaken(Method):
        def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
            bench.store.put_outcome(a_result(run, accuracy=0.123))
            return super().fit(task, given, monitor)

    registered(Overtaken)
    run = _run(data, "method")
    result = bench(run).result
    assert result is not None
    assert result.variants[0].score == 0.123


def test_a_prerequisite_is_given_with_its_trained_weights(
    bench: _Bench, data: TaskData, registered: Callable[[type[Method]], None]
) -> None:
    class Passing(Method):
        needs = (Prerequisite("dense"),)

        def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
            del task, monitor
            return Outcome(variants=(Delivered("same", kind="whole", network=given["dense"]),), epochs=0)

    registered(Passing)
    run, dense = _run(data, "method"), _run(data, "dense")
    missing = bench(run)
    assert missing.failure is not None
    assert f"prerequisite 'dense' (run {dense.key}) is not in the store" in missing.failure.message
    bench(dense)
    assert bench(run).status == "finished"
    trained = artefact.load_network(bench.weights(dense, "dense")).state_dict()
    passed_on = artefact.load_network(bench.weights(run, "same")).state_dict()
    assert all(torch.equal(trained[name], value) for name, value in passed_on.items())


def _raise(error: Exception) -> Mapping[str, Any]:
    raise error


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (KeyError("x"), "raised", "KeyError: 'x'"),
        (TrainingDiverged("epoch 2: the loss became nan"), "diverged", "epoch 2: the loss became nan"),
        (UnsupportedTask("needs images"), "unsupported", "needs images"),
    ],
)
def test_a_run_that_goes_wrong_is_told_with_its_kind_and_traceback(
    error: Exception,
    kind: str,
    message: str,
    bench: _Bench,
    data: TaskData,
    registered: Callable[[type[Method]], None],
) -> None:
    class Broken(Method):
        def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
            _raise(error)
            return super().fit(task, given, monitor)

    registered(Broken)
    run = _run(data, "method")
    completion = bench(run)
    assert completion.status == "failed"
    assert completion.failure is not None
    assert (completion.failure.kind, completion.failure.message) == (kind, message)
    assert "in fit" in completion.failure.traceback
    assert bench.store.read_outcome(run.key) is None
    assert (Path(bench.store.uri) / "runs" / run.key / "run.json").exists()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ((), "delivered no network"),
        (("a", "b", "a"), "two variants 'a'"),
        (("../a",), "cannot name a file"),
    ],
)
def test_a_delivery_that_cannot_be_kept_is_a_failure_of_the_run_alone(
    labels: tuple[str, ...],
    message: str,
    bench: _Bench,
    data: TaskData,
    registered: Callable[[type[Method]], None],
) -> None:
    class Delivering(Method):
        def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
            del given, monitor
            variants = tuple(Delivered(label, kind="whole", network=task.network()) for label in labels)
            return Outcome(variants=variants, epochs=0)

    registered(Delivering)
    failure = bench(_run(data, "method")).failure
    assert failure is not None
    assert message in failure.message


def _chart(name: str) -> LineChart:
    line = Line(label="c", x=(1.0, 2.0), y=(0.5, None))
    return LineChart(name=name, title="Pull", x_label="epoch", y_label="c", lines=(line,))


def test_figures_are_stored_before_the_outcome_says_that_the_run_is_done(
    bench: _Bench, data: TaskData, registered: Callable[[type[Method]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Drawing(Method):
        def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
            return replace(super().fit(task, given, monitor), figures=(_chart("one"), _chart("two")))

    registered(Drawing)
    run = _run(data, "method")
    seen: list[tuple[Figure, ...]] = []
    put_outcome = Store.put_outcome

    def watched(store: Store, result: RunResult) -> bool:
        seen.append(store.read_figures(result.key))
        return put_outcome(store, result)

    monkeypatch.setattr(Store, "put_outcome", watched)
    assert bench(run).status == "finished"
    assert bench.store.read_figures(run.key) == (_chart("one"), _chart("two"))
    assert seen == [bench.store.read_figures(run.key)]


def test_two_figures_of_one_name_are_a_failure_of_the_run_alone(
    bench: _Bench, data: TaskData, registered: Callable[[type[Method]], None]
) -> None:
    class Drawing(Method):
        def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
            return replace(super().fit(task, given, monitor), figures=(_chart("b"), _chart("a"), _chart("b")))

    registered(Drawing)
    failure = bench(_run(data, "method")).failure
    assert failure is not None
    assert "two figures 'b'; give each a name of its own" in failure.message


def test_work_runs_with_the_threads_it_was_given_and_the_caller_gets_its_own_back(
    bench: _Bench, data: TaskData, registered: Callable[[type[Method]], None]
) -> None:
    class Asking(Method):
        def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
            outcome = super().fit(task, given, monitor)
            return Outcome(outcome.variants, epochs=0, facts={"threads": torch.get_num_threads()})

    registered(Asking)
    before = torch.get_num_threads()
    result = bench(_run(data, "method"), threads=before + 1).result
    assert result is not None
    assert result.facts["threads"] == before + 1
    assert result.environment["threads"] == str(before + 1)
    assert torch.get_num_threads() == before


def test_a_result_tells_how_samples_were_normalised_and_keeps_it_as_it_was(bench: _Bench, data: TaskData) -> None:
    result = bench(_run(data, "dense")).result
    assert result is not None
    mean, std = data.normalization.mean, data.normalization.std
    assert result.preprocessing == {"normalization": {"mean": list(mean), "std": list(std)}}
    assert bench.store.read_outcome(result.key) == result


@pytest.mark.parametrize("share_kept", [1.0, 0.05])
def test_sparse_execution_is_timed_where_few_weights_are_left_and_kept_where_it_is_faster(
    share_kept: float,
    bench: _Bench,
    data: TaskData,
    registered: Callable[[type[Method]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Pruned(Method):
        def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
            outcome = super().fit(task, given, monitor)
            with torch.no_grad():
                for weight in outcome.variants[0].network.parameters():
                    weight.mul_(torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)) < share_kept)
            return outcome

    def only_for_many(execution: SparseExecution, *, dense_ms: float) -> float | None:
        return dense_ms / 2 if execution.batch_size > 1 else None

    registered(Pruned)
    monkeypatch.setattr("orchestrator.execution.sparse_latency_ms", only_for_many)
    run = _run(data, "method")
    bench(run)
    measured = bench(run, kind="latency").measured["same"]
    dense = {"latency_ms_1", "latency_ms_256"}
    assert set(measured) == (dense if share_kept == 1 else dense | {"latency_sparse_ms_256"})
    assert all(milliseconds > 0 for milliseconds in measured.values())


def test_curves_of_phases_with_different_values_share_one_table(
    bench: _Bench, data: TaskData, registered: Callable[[type[Method]], None]
) -> None:
    class Curving(Method):
        def fit(self, task: Task, given: Given, monitor: Monitor) -> Outcome:
            monitor.curve(0, train_loss=1.0)
            monitor.curve(1, sparsity=0.5)
            return super().fit(task, given, monitor)

    registered(Curving)
    run = _run(data, "method")
    bench(run)
    assert bench.curves(run) == [
        {"epoch": 0, "train_loss": 1.0, "sparsity": None},
        {"epoch": 1, "train_loss": None, "sparsity": 0.5},
    ]


def test_a_stored_network_that_cannot_be_read_is_named_with_its_mend(bench: _Bench, data: TaskData) -> None:
    run = _run(data, "dense")
    bench(run)
    path = Path(bench.store.uri) / "runs" / run.key / "variants" / "dense" / "artefact.safetensors.zst"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreProblem, match=rf"{run.key}: variant 'dense' cannot be read.*delete that folder"):
        bench(run, kind="test")


def test_a_run_that_is_not_finished_cannot_be_tested(bench: _Bench) -> None:
    with pytest.raises(StoreProblem, match=f"run {a_run().key} is not finished"):
        bench(a_run(), kind="test")
