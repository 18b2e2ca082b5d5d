"""From a piece of work to what came of it: a plain function that runs in any process, with or without Ray."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import torch

from methods import artefact
from methods.contract import Given, Outcome, StoppedEarly, Task, TrainingDiverged, UnsupportedTask
from methods.data.encoding import ENCODING
from methods.measure import (
    LATENCY_BATCH_SIZES,
    deployed_sizes,
    grade,
    is_sparse_enough,
    latency_ms,
    quality,
    sparse_execution,
    sparse_latency_ms,
)
from methods.modules.grading import grade_library
from methods.modules.side_by_side import as_network
from methods.modules.stored import save_library
from methods.registry import config_class, method_class
from methods.tasks import build_task, open_test, task_info
from methods.training.allocator import keep_freed_memory
from methods.training.checkpoints import CheckpointError, pack, unpack
from orchestrator.environment import describe_environment
from orchestrator.errors import StoreProblem
from orchestrator.library_results import (
    LIBRARY_CHARTS,
    dependence_chart,
    library_variant,
    modules_result,
    subsets_table,
    subtask_charts,
    tested_compositions,
)
from orchestrator.module_results import COMPOSED_ROW, ModulesResult
from orchestrator.results import headline
from orchestrator.runs import Failure, GeneratorResult, GradedVariant, Run, RunResult
from orchestrator.sizes import Sizes
from orchestrator.store import Store
from orchestrator.subtask_table import TEST_KEY
from orchestrator.work import Completion, Judge, Report, Work, WorkerSettings

if TYPE_CHECKING:
    from methods.figures import Figure
    from methods.networks.graph import Network
    from methods.tasks import TaskData

_CHECKPOINT_FORMAT = 2
"""Raised when a method keeps something else in its checkpoints than before: none shall take up what it cannot read."""


def execute(work: Work, data: TaskData, settings: WorkerSettings, judge: Judge) -> Completion:
    """Do one piece of work and say how it ended.

    A fit whose result is in the store already is not done again. A finished fit is in the store when this returns,
    `outcome.json` last. Whatever a method raises ends up in the completion; only trouble with the store, and being
    interrupted, escape. PyTorch uses `settings.threads` threads meanwhile.

    Raises:
        StoreProblem: The store cannot be read or written.
    """
    started = time.perf_counter()
    keep_freed_memory()
    store = Store.open(settings.store_uri)
    monitor = StoreMonitor(work.run.key, store, judge, checkpoint_seconds=settings.checkpoint_seconds)

    def ended(
        status: Literal["finished", "stopped_early", "failed"],
        *,
        result: RunResult | None = None,
        failure: Failure | None = None,
    ) -> Completion:
        seconds = time.perf_counter() - started
        return Completion(work, status, seconds, result, failure=failure, last_report=monitor.last_report)

    try:
        with _threads(settings.threads):
            if work.kind != "fit":
                measured = _measure(work, data, store, settings)
                return Completion(work, "finished", time.perf_counter() - started, measured=measured)
            result = store.read_outcome(work.run.key) or _fit(work.run, data, store, settings, monitor)
        return ended("finished", result=result)
    except StoppedEarly:
        store.drop_checkpoint(work.run.key)
        return ended("stopped_early")
    except StoreProblem:
        raise
    except UnsupportedTask as error:
        return ended("failed", failure=_failure("unsupported", error))
    except TrainingDiverged as error:
        return ended("failed", failure=_failure("diverged", error))
    except Exception as error:
        return ended("failed", failure=_failure("raised", error))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Inside, PyTorch uses so many threads, on which the last digits of sums depend; afterwards, as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fit(run: Run, data: TaskData, store: Store, settings: WorkerSettings, monitor: StoreMonitor) -> RunResult:
    """Train, grade, store."""
    store.put_run(run)
    method = method_class(run.method)(config_class(run.method)(**run.config))
    method.check(task_info(run.task, data, run.task_name))
    task = build_task(run.task, data, name=run.task_name, seed=run.seed, device=settings.device)
    given = _given(run, store, settings.device)

    started = time.perf_counter()
    outcome = method.fit(task, given, monitor)
    fit_seconds = time.perf_counter() - started
    _check_names(run, outcome)

    # The dense network through the same export; its size hangs on the architecture and hardly on the weights.
    reference = Sizes(**deployed_sizes(task.network()))
    graded = []
    for variant in outcome.variants:
        grades = grade(variant.network, task, latency=False)
        store.put_variant(
            run.key, variant.label, artefact=grades.artefact, weights=artefact.save_network(variant.network)
        )
        graded.append(
            GradedVariant(
                label=variant.label,
                kind=variant.kind,
                settings=dict(variant.settings),
                validation=dict(grades.validation),
                per_class={name: dict(values) for name, values in grades.per_class.items()},
                subtasks={str(count): accuracy for count, accuracy in grades.subtasks.items()},
                sizes=Sizes(
                    parameters=grades.parameters,
                    nonzeros=grades.nonzeros,
                    stored_bytes=grades.stored_bytes,
                    macs=grades.macs,
                ),
                reference_sizes=reference,
            )
        )
    modules, charts = _grade_modules(run, outcome, task, store, graded=graded, reference=reference)
    generator = _store_generator(run, outcome, store)
    if monitor.curves:
        store.put_curves(run.key, pa.Table.from_pylist(_aligned(monitor.curves)))
    store.put_figures(run.key, (*charts, *outcome.figures))
    result = RunResult(
        key=run.key,
        run=run,
        variants=tuple(graded),
        modules=modules,
        generator=generator,
        prerequisites={name: needed.key for name, needed in prerequisite_runs(run).items()},
        epochs=outcome.epochs,
        facts=dict(outcome.facts),
        notes=tuple(monitor.notes),
        fit_seconds=fit_seconds,
        grade_seconds=time.perf_counter() - started - fit_seconds,
        finished_at=_now(),
        preprocessing=_preprocessing(data),
        environment=describe_environment(device=settings.device, threads=settings.threads),
    )
    if not store.put_outcome(result):
        # Another study was quicker; what is stored under a key is the result of everybody.
        return store.read_outcome(run.key) or result
    return result


def _grade_modules(
    run: Run, outcome: Outcome, task: Task, store: Store, *, graded: Sequence[GradedVariant], reference: Sizes
) -> tuple[ModulesResult | None, tuple[Figure, ...]]:
    """Grade and store the library of a modular method, and draw what was found."""
    library = outcome.library
    if library is None:
        return None, ()
    grades = grade_library(library, task)
    store.put_modules(run.key, save_library(library), subsets_table(library, grades.subtasks, reference=reference))
    modules = modules_result(library, grades, variant=library_variant(outcome), reference=reference)
    return modules, (*subtask_charts(modules, graded), *dependence_chart(grades.dependence))


def _store_generator(run: Run, outcome: Outcome, store: Store) -> GeneratorResult | None:
    """Store what networks of any width are drawn from, where the method made such a thing."""
    generator = outcome.generator
    if generator is None:
        return None
    data = generator.save()
    store.put_generator(run.key, data)
    return GeneratorResult(
        parameters=generator.parameters,
        stored_bytes=len(data),
        digest=sha256(data).hexdigest(),
        trained_widths=generator.trained_widths,
        blocks=generator.blocks,
    )


def _preprocessing(data: TaskData) -> dict[str, Any]:
    """What a user of the networks must do with raw samples, for `RunResult.preprocessing`."""
    normalization = data.normalization
    found: dict[str, Any] = {"normalization": {"mean": list(normalization.mean), "std": list(normalization.std)}}
    if data.encoding is not None:
        found["table"] = ENCODING.dump_python(data.encoding, mode="json")
    return found


def _check_names(run: Run, outcome: Outcome) -> None:
    if not outcome.variants:
        raise ValueError(f"method '{run.method}' delivered no network; `Outcome.variants` needs at least one")
    labels = _repeated(variant.label for variant in outcome.variants)
    if labels:
        raise ValueError(f"method '{run.method}' delivered two variants '{labels[0]}'; give each a label of its own")
    ours: tuple[str, ...] = ()
    if outcome.library is not None:
        library_variant(outcome)
        ours = LIBRARY_CHARTS
    names = _repeated([*ours, *(figure.name for figure in outcome.figures)])
    if names:
        raise ValueError(f"method '{run.method}' delivered two figures '{names[0]}'; give each a name of its own")


def _repeated(names: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def prerequisite_runs(run: Run) -> dict[str, Run]:
    """The runs that must be finished before this one, by the name of their method."""
    method = method_class(run.method)(config_class(run.method)(**run.config))
    return {needed.method: run.of(needed.method, dict(needed.config)) for needed in method.prerequisites()}


def _given(run: Run, store: Store, device: str) -> Given:
    given = {}
    for name, needed in prerequisite_runs(run).items():
        result = store.read_outcome(needed.key)
        if result is None:
            raise RuntimeError(f"prerequisite '{name}' (run {needed.key}) is not in the store")
        best = max(variant.score for variant in result.variants)
        chosen = headline(result.variants, dense_score=best, tolerance=0.0, measure="parameters")
        weights = store.read_variant(needed.key, chosen.label).weights
        # A method goes on from a plain network, also where class modules side by side were delivered.
        given[name] = as_network(artefact.load_network(weights)).to(device)
    return given


def _measure(work: Work, data: TaskData, store: Store, settings: WorkerSettings) -> dict[str, dict[str, float]]:
    """Test quality or latency of every variant of a finished run, as deployed: of its reloaded artefact.

    Of class modules also the test accuracy of their compositions, with the weights as trained.
    """
    run = work.run
    result = store.read_outcome(run.key)
    if result is None:
        raise StoreProblem(f"{settings.store_uri}: run {run.key} is not finished, so it cannot be tested")
    measured: dict[str, dict[str, float]] = {}
    task = build_task(run.task, data, name=run.task_name, seed=run.seed, device=settings.device)
    split = open_test(data, opened_by=run.key, device=settings.device) if work.kind == "test" else None
    for variant in result.variants:
        network = deployed_network(store, run.key, variant.label).to(settings.device)
        if split is None:
            measured[variant.label] = _latency(network, settings.device)
            continue
        found = quality(network, split, task)
        on_subtasks = {f"{TEST_KEY}{count}": accuracy for count, accuracy in found.subtasks.items()}
        measured[variant.label] = {**found.values, **on_subtasks}
    if split is not None and result.modules is not None:
        measured[COMPOSED_ROW] = tested_compositions(store, run.key, split, task)
    return measured


def deployed_network(store: Store, key: str, label: str) -> Network:
    """A stored network as it is deployed and run: of its artefact, on the CPU, in evaluation mode.

    Raises:
        UnknownRecord: The run has no such variant.
        StoreProblem: Its artefact is damaged.
    """
    stored = store.read_variant(key, label).artefact
    try:
        return as_network(artefact.decode(stored))
    except artefact.ArtefactError as error:
        raise StoreProblem(
            f"{store}/runs/{key}: variant '{label}' cannot be read: {error}; delete that folder, and "
            "`pare resume` trains the run again"
        ) from error


def _latency(network: Network, device: str) -> dict[str, float]:
    """`latency_ms_<batch>`, and `latency_sparse_ms_<batch>` where sparse execution on the CPU is faster."""
    measured = {}
    sparse = device == "cpu" and is_sparse_enough(network)
    for size in LATENCY_BATCH_SIZES:
        dense_ms = latency_ms(network, network.architecture.input_shape, size, device=device).median_ms
        measured[f"latency_ms_{size}"] = dense_ms
        if sparse:
            sparse_ms = sparse_latency_ms(sparse_execution(network, batch_size=size), dense_ms=dense_ms)
            if sparse_ms is not None:
                measured[f"latency_sparse_ms_{size}"] = sparse_ms
    return measured


class StoreMonitor:
    """A method's `Monitor` that keeps curves and notes and writes checkpoints to the store."""

    def __init__(self, key: str, store: Store, judge: Judge, *, checkpoint_seconds: float) -> None:
        self.curves: list[dict[str, float]] = []
        self.notes: list[str] = []
        self.last_report: Report | None = None
        self._key = key
        self._store = store
        self._judge = judge
        self._checkpoint_seconds = checkpoint_seconds
        self._last_checkpoint = time.monotonic()
        self._earlier: dict[str, Any] | None = None
        self._asked_for_earlier = False

    def report(self, progress: float, accuracy: float, size: float) -> None:
        self.last_report = Report(self._key, progress, accuracy, size)
        if self._judge(self.last_report):
            raise StoppedEarly(f"stopped early at {progress:.0%} of the schedule")

    def curve(self, epoch: int, **values: float) -> None:
        self.curves.append({"epoch": epoch} | values)

    def note(self, message: str) -> None:
        self.notes.append(message)

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        now = time.monotonic()
        if now - self._last_checkpoint >= self._checkpoint_seconds:
            whole = {
                "format": _CHECKPOINT_FORMAT,
                "method": dict(state),
                "curves": self.curves,
                "notes": self.notes,
            }
            self._store.put_checkpoint(self._key, pack(whole))
            self._last_checkpoint = now

    def resume(self) -> dict[str, Any] | None:
        # Each phase of a method asks. Only an earlier attempt counts: this one's own checkpoints would take its
        # curves back to the last of them.
        if not self._asked_for_earlier:
            self._asked_for_earlier = True
            self._earlier = self._read_earlier()
        return self._earlier

    def _read_earlier(self) -> dict[str, Any] | None:
        stored = self._store.read_checkpoint(self._key)
        if stored is None:
            return None
        try:
            whole = unpack(stored)
        except CheckpointError as error:
            self.note(f"the checkpoint of an earlier attempt cannot be read ({error}), so this one began anew")
            return None
        if whole.get("format") != _CHECKPOINT_FORMAT:
            self.note("the checkpoint of an earlier attempt is of another version of paredown, so this one began anew")
            return None
        self.curves = list(whole["curves"])
        self.notes = list(whole["notes"])
        method_state: dict[str, Any] = whole["method"]
        return method_state


def _aligned(rows: list[dict[str, float]]) -> list[dict[str, float | None]]:
    """The same rows, each with every column, in order of first appearance."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name) for name in columns} for row in rows]


def _failure(kind: Literal["raised", "diverged", "unsupported"], error: Exception) -> Failure:
    message = f"{type(error).__name__}: {error}" if kind == "raised" else str(error)
    return Failure(kind=kind, message=message, traceback="".join(traceback.format_exception(error)), at=_now())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
