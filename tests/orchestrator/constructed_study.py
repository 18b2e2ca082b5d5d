"""A study as a store would hold it after a few hours of training, made up in a moment from a formula."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from methods.task_spec import DataSpec, NetworkSpec, TaskSpec
from orchestrator.module_results import COMPOSED_ROW, ModuleCard, ModulesResult, SubtaskSize
from orchestrator.results import results_table, table_bytes
from orchestrator.runs import Failure, GradedVariant, Phase, Record, Run, RunResult
from orchestrator.sizes import Sizes
from orchestrator.store import Store
from orchestrator.subtask_table import TEST_KEY, subtask_table

DENSE_SIZES = Sizes(parameters=466_906, nonzeros=466_906, stored_bytes=861_340, macs=69_124_480)
STUDY_FILE = """\
study: {name}
question: {question}
seeds: {seeds}
tasks:
{tasks}
methods: {{{methods}}}
report: {{size_budgets: [0.05, 0.1, 0.25], tolerance: 0.01, measure: stored_bytes}}
"""
QUALITY = {"dense": 0.0, "hypersparse": 0.0, "magnitude": 0.006, "scratch": 0.02}
"""Score that each method loses at every size, before what the size itself costs."""
SWEEP = tuple((gamma, threshold) for gamma in (0.3, 0.03) for threshold in (0.7, 0.8, 0.9, 0.95))
"""`gamma` and `threshold` of the configurations that `add_modules` adds."""
SIZES = range(2, 11)


def graded(
    label: str, score: float, ratio: float, *, kind: Any = "whole", settings: Mapping[str, Any] | None = None
) -> GradedVariant:
    """A variant of a given validation accuracy and share of all four dense sizes."""
    return GradedVariant(
        label=label,
        kind=kind,
        settings=dict(settings or {}),
        validation={"accuracy": score, "macro_f1": score - 0.002},
        sizes=Sizes(**{name: max(1, round(size * ratio)) for name, size in DENSE_SIZES.model_dump().items()}),
        reference_sizes=DENSE_SIZES,
        latency_ms={"1": 0.3 + ratio, "256": 20 + 60 * ratio},
    )


def make_run(task: str, method: str, config: Mapping[str, Any], seed: int, *, data: str = "digits") -> Run:
    spec = TaskSpec(data=DataSpec(source=data), network=NetworkSpec(name="small_cnn"), epochs=20)
    return Run(
        task_name=task, task=spec, data_fingerprint=f"{task}-5f0c", method=method, config=dict(config), seed=seed
    )


def on_subtasks(variant: GradedVariant) -> GradedVariant:
    """The variant with its accuracy on 2 to 10 of 10 classes: it falls from nearly 1 to that on all of them."""
    return variant.model_copy(update={"subtasks": {str(k): 1 - (1 - variant.score) * k / 10 for k in SIZES}})


def make_modules(
    *, size: float, overlap: float, accuracy: Mapping[int, float], settings: Mapping[str, Any], variant: str = "whole"
) -> ModulesResult:
    """Class modules of one class "0", composed for any number of classes."""
    sizes = Sizes(**{name: max(1, round(value * size)) for name, value in DENSE_SIZES.model_dump().items()})
    return ModulesResult(
        variant=variant,
        settings=dict(settings),
        cards=(
            ModuleCard(
                class_name="0", units_kept=0.2, kernels_kept=0.3, sizes=sizes, precision=0.9, recall=0.9, f1=0.9
            ),
        ),
        module_size=size,
        module_macs=size,
        units_kept=0.2,
        kernels_kept=0.3,
        overlap=overlap,
        coupling=0.4,
        united_accuracy=accuracy[max(accuracy)],
        subtasks=tuple(
            SubtaskSize(
                num_classes=k,
                subsets=45,
                accuracy=value,
                parameters_ratio=min(1.0, size * k**0.9),
                macs_ratio=min(1.0, 0.3 + 0.06 * k),
            )
            for k, value in accuracy.items()
        ),
    )


def make_result(
    run: Run, variants: Sequence[GradedVariant], *, seconds: float = 60.0, modules: ModulesResult | None = None
) -> RunResult:
    return RunResult(
        key=run.key,
        run=run,
        variants=tuple(variants),
        modules=modules,
        epochs=20,
        fit_seconds=seconds,
        grade_seconds=1.0,
        finished_at="2025-03-01T12:00:00+00:00",
        environment={"git": "0123456789ab", "torch": "2.13.0", "cpu": "A processor", "threads": "1", "device": "cpu"},
    )


def make_record(
    run: Run, *, trial: int = 0, phase: Phase = "confirm", status: Any = "finished", label: str = "", **more: Any
) -> Record:
    return Record(
        study=more.pop("study", "made_up"),
        task_name=run.task_name,
        method=label or run.method,
        trial=trial,
        seed=run.seed,
        phase=phase,
        run=run,
        status=status,
        **more,
    )


class ConstructedStudy:
    """Puts a made-up study into a store: searched, confirmed, tested."""

    def __init__(self, store: Store, *, name: str = "made_up", seeds: Sequence[int] = (0, 1, 2)) -> None:
        self.store = store
        self.name = name
        self.seeds = tuple(seeds)
        self.question = "Which method keeps accuracy longest as the stored network shrinks?"
        self.trials = 9
        self.sweep: Sequence[tuple[float, float]] = ()
        """Of class modules by activation, `gamma` and `threshold` of each configuration; `SWEEP` is one."""
        self.artefact: bytes | None = None
        """Stored as the network of every finished run, for readers that want one, with curves of its training."""
        self._random = np.random.default_rng(7)
        self._outcomes: dict[str, RunResult] = {}
        self._tested: dict[str, dict[str, float]] = {}

    def build(self, tasks: Mapping[str, float] | None = None, *, methods: Sequence[str] = tuple(QUALITY)) -> None:
        """Write study file, ledger, results, test sheet and results table; `tasks` maps a name to dense accuracy."""
        tasks = tasks or {"digits": 0.981, "cifar10": 0.924}
        listed = "\n".join(f"  {task}: {{data: digits, network: small_cnn, epochs: 20}}" for task in tasks)
        spec = STUDY_FILE.format(
            name=self.name,
            question=json.dumps(self.question),
            seeds=list(self.seeds),
            tasks=listed,
            methods=", ".join(f"{name}: {{}}" for name in [*methods, *(["activation_driven"] if self.sweep else [])]),
        )
        folder = self.store.study(self.name)
        folder.put_spec(spec)
        for task, dense in tasks.items():
            for method in methods:
                self._cell(task, method, dense)
            for trial, (gamma, threshold) in enumerate(self.sweep):
                self._modules(task, trial, dense, gamma=gamma, threshold=threshold)
        sheet = {"opened_at": "2025-03-01T13:00:00+00:00", "opened_by": "study", "rows": self._tested}
        folder.put_test(sheet)
        folder.write_file("timings.json", json.dumps({"search": 4210.5, "confirm": 3080.0, "test": 61.0}).encode())
        self.write_results()

    def write_results(self) -> None:
        """`results.parquet` and `subtasks.parquet` from what is in the store by now."""
        folder = self.store.study(self.name)
        records, test = folder.records(), folder.read_test()
        table = results_table(records, self._outcomes, test, measure="stored_bytes", tolerance=0.01)
        folder.write_file("results.parquet", table_bytes(table))
        folder.write_file("subtasks.parquet", table_bytes(subtask_table(records, self._outcomes, test)))

    def fail(self, task: str, method: str, *, trial: int, seed: int, reason: str, phase: Phase = "search") -> None:
        """Add a run that failed twice."""
        run = make_run(task, method, _config(method, 0.001 * trial), seed)
        for at in ("2025-03-01T10:00:00+00:00", "2025-03-01T10:05:00+00:00"):
            failure = Failure(kind="diverged", message=reason, traceback=f"Traceback ...\n  {reason}", at=at)
            self.store.add_failure(run.key, failure)
        record = make_record(run, trial=trial, phase=phase, status="failed", reason=reason, study=self.name)
        self.store.study(self.name).put_record(record)

    def _cell(self, task: str, method: str, dense: float) -> None:
        if method == "dense":
            self._confirm(task, method, 0, 1.0, dense)
            return
        for trial in range(self.trials):
            shift = 1 + 0.25 * sorted(QUALITY).index(method)
            ratio = 0.006 * shift * (1 / 0.02) ** (trial / (self.trials - 1))
            if trial == 6:
                run = make_run(task, method, _config(method, ratio), self.seeds[0])
                reason = "beaten by 3 others at half of the schedule"
                self._record(run, trial, "search", status="stopped_early", reason=reason, progress=0.5)
                continue
            poor = 0.05 if trial == 7 else 0.0
            self._finish(task, method, trial, ratio, dense - poor, self.seeds[0], "search")
            if trial % 2 == 0 or trial == 7:
                self._confirm(task, method, trial, ratio, dense - poor)

    def _confirm(self, task: str, method: str, trial: int, ratio: float, dense: float) -> None:
        for seed in self.seeds:
            self._finish(task, method, trial, ratio, dense, seed, "confirm")

    def _finish(self, task: str, method: str, trial: int, ratio: float, dense: float, seed: int, phase: Phase) -> None:
        run = make_run(task, method, _config(method, ratio), seed)
        cached = self.store.read_outcome(run.key) is not None
        if not cached:
            loss = QUALITY[method] + (0.0 if method == "dense" else 0.0012 / ratio**0.9 * (1 - math.sqrt(ratio)))
            score = max(0.1, dense - loss + float(self._random.normal(scale=0.003)))
            jitter = 1.0 if method in ("dense", "scratch") else 1 + float(self._random.normal(scale=0.02))
            variant = on_subtasks(graded("final", round(score, 4), min(1.0, ratio * jitter)))
            result = make_result(run, [variant], seconds=float(self._random.uniform(40, 130)))
            self._put_network(run, variant)
            self.store.put_outcome(result)
            self._outcomes[run.key] = result
            if phase == "confirm":
                test = round(score - 0.004 + float(self._random.normal(scale=0.002)), 4)
                self._test(run, "final", test)
        elif phase == "confirm":
            self._test(run, "final", round(self._outcomes[run.key].variants[0].score - 0.004, 4))
        seconds = 0.0 if cached else self._outcomes[run.key].fit_seconds
        self._record(run, trial, phase, cached=cached, device_seconds=seconds)

    def _put_network(self, run: Run, variant: GradedVariant) -> None:
        if self.artefact is None:
            return
        self.store.put_variant(run.key, variant.label, artefact=self.artefact, weights=b"")
        score = [round(variant.score * (1 - math.exp(-(epoch + 1) / 4)), 4) for epoch in range(20)]
        curves = {"epoch": list(range(20)), "train_loss": [1 - one for one in score], "val_accuracy": score}
        curves |= {"delivered_accuracy": score, "size": [variant.ratio("stored_bytes")] * 20}
        self.store.put_curves(run.key, pa.table(curves | {"learning_rate": [0.1 - 0.005 * e for e in range(20)]}))

    def _modules(self, task: str, trial: int, dense: float, *, gamma: float, threshold: float) -> None:
        """A configuration of class modules: compact ones with a high threshold are small and lose accuracy."""
        changed = {"gamma": gamma, "threshold": threshold}
        config = {name: value for name, value in changed.items() if value != {"gamma": 0.3, "threshold": 0.9}[name]}
        size = (0.09 if gamma > 0.1 else 0.16) * (1.9 - threshold)
        for seed in self.seeds:
            run = make_run(task, "activation_driven", config, seed)
            noise = float(self._random.normal(scale=0.002))
            score = dense - 0.004 - 0.004 * gamma + noise
            lost = 0.002 + 0.06 * max(0.0, threshold - 0.68) ** 2 * (1 + gamma) * 4
            accuracy = {k: round(1 - (1 - score) * k / 10 - lost, 4) for k in SIZES}
            whole = on_subtasks(graded("whole", round(score, 4), 1.0))
            union = on_subtasks(graded("union", accuracy[10], min(1.0, 7 * size), settings={"threshold": threshold}))
            modules = make_modules(
                size=size * (1 + 5 * noise), overlap=0.6 * size, accuracy=accuracy, settings={"threshold": threshold}
            )
            result = make_result(run, [whole, union], modules=modules)
            self.store.put_outcome(result)
            self._outcomes[run.key] = result
            self._test(run, "whole", score - 0.004)
            self._test(run, "union", accuracy[10] - 0.004)
            on_test = {f"{TEST_KEY}{k}": value - 0.004 for k, value in accuracy.items()}
            self._tested[f"{run.key}/{COMPOSED_ROW}"] = on_test
            self._record(run, trial, "confirm", device_seconds=result.fit_seconds)

    def _test(self, run: Run, variant: str, score: float) -> None:
        by_size = {f"{TEST_KEY}{k}": 1 - (1 - score) * k / 10 for k in SIZES}
        self._tested[f"{run.key}/{variant}"] = {"accuracy": score, "macro_f1": score - 0.002, **by_size}

    def _record(self, run: Run, trial: int, phase: Phase, **more: Any) -> None:
        self.store.study(self.name).put_record(make_record(run, trial=trial, phase=phase, study=self.name, **more))


def _config(method: str, ratio: float) -> dict[str, Any]:
    """A stand-in for the searched fields; keys take any JSON."""
    return {} if method == "dense" else {"pruning_rate": round(1 - ratio, 4)}
