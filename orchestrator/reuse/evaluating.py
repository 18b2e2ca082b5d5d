"""Carries out a study's reuse scenarios with the networks that were confirmed, seed by seed.

Nothing is chosen here by what the test split says: which configuration stands for a cell is the comparison's choice,
ways and classes are all tried, and modules of a new task are chosen on validation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from methods.contract import Split
from methods.measure import count_macs, predict
from methods.modules.picks import ModulePick
from methods.modules.reuse import best_modules, compose_across, module_f1
from methods.networks.graph import Network
from methods.tasks import PreparedTask, TaskData, build_task, open_test
from orchestrator.class_modules.composing import as_deployed
from orchestrator.class_modules.patching import effect_of, patched_network
from orchestrator.class_modules.sources import SourceRun, open_sources
from orchestrator.class_modules.weak import StrongModule, WeakNetwork, open_module, open_weak
from orchestrator.comparison import Comparison, Configuration
from orchestrator.deployment import deployed
from orchestrator.errors import ExportRefused, PareError, UnknownRecord
from orchestrator.library_results import stored_library
from orchestrator.spec import NewTaskScenario, PatchScenario, Study
from orchestrator.store import Store

Row = dict[str, Any]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class _Stage:
    """What all scenarios of one study draw from."""

    study: Study
    store: Store
    chosen: Mapping[str, Configuration]
    """Cell -> the configuration that stands for it."""
    tasks: Mapping[tuple[str, int], PreparedTask]
    """(Task, seed) -> its training and validation samples."""
    test: Mapping[str, Split]
    """Task -> its test samples."""

    def key(self, cell: str, seed: int) -> str:
        return self.chosen[cell].run_keys[self.study.seeds.index(seed)]

    def splits(self, cell: str, seed: int) -> Iterator[tuple[str, Split]]:
        task = cell.partition("/")[0]
        yield "validation", self.tasks[task, seed].validation
        yield "test", self.test[task]


def evaluate_reuse(
    study: Study, store: Store, data: Mapping[str, TaskData], comparison: Comparison, *, tell: Tell = lambda _: None
) -> list[Row]:
    """Rows of the reuse table, see `orchestrator.reuse.table`.

    Reads the test split, so the study's own must have been opened before: nothing is searched after that.

    Args:
        study: With `reuse`.
        data: Of its tasks, test splits included.
        comparison: Of its confirmed runs.
        tell: Hears in a sentence of each scenario that cannot be carried out; the others go on.
    """
    assert study.reuse is not None
    stage = _Stage(
        study=study,
        store=store,
        chosen=_chosen(comparison),
        tasks={
            (name, seed): build_task(spec, data[name], name=name, seed=seed, device="cpu")
            for name, spec in study.tasks.items()
            for seed in study.seeds
        },
        test={name: open_test(one, opened_by=f"study {study.name}") for name, one in data.items()},
    )
    rows: list[Row] = []
    if study.reuse.patch is not None:
        rows += _patches(study.reuse.patch, stage, tell)
    for scenario in study.reuse.new_tasks:
        rows += _new_task(scenario, stage, tell)
    return [{"study": study.name, **row} for row in rows]


def _chosen(comparison: Comparison) -> dict[str, Configuration]:
    found: dict[str, Configuration] = {}
    for task in comparison.tasks:
        if task.dense is not None:
            found[f"{task.task}/{task.dense.method}"] = task.dense
        for one in deployed(task, comparison.terms):
            found[f"{task.task}/{one.configuration.method}"] = one.configuration
    return found


def _missing(cells: Sequence[str], stage: _Stage, what: str, tell: Tell) -> bool:
    lacking = [cell for cell in cells if cell not in stage.chosen]
    if lacking:
        tell(f"{what} left out: {', '.join(lacking)} has no configuration that finished with every seed")
    return bool(lacking)


def _patches(scenario: PatchScenario, stage: _Stage, tell: Tell) -> Iterator[Row]:
    for weak_cell in scenario.weak:
        for strong_cell in scenario.strong:
            what = f"patching {weak_cell} with {strong_cell}"
            if _missing((weak_cell, strong_cell), stage, what, tell):
                continue
            for seed in stage.study.seeds:
                try:
                    # All of a seed or nothing: means over classes compare seeds.
                    yield from list(_patched(weak_cell, strong_cell, seed, scenario, stage))
                except PareError as error:
                    tell(f"{what} left out for seed {seed}: {error}")


def _patched(weak_cell: str, strong_cell: str, seed: int, scenario: PatchScenario, stage: _Stage) -> Iterator[Row]:
    names = {cell: cell.partition("/")[0] for cell in (weak_cell, strong_cell)}
    weak = open_weak(
        stage.store,
        stage.key(weak_cell, seed),
        variant=stage.chosen[weak_cell].variant,
        task=stage.tasks[names[weak_cell], seed],
    )
    strong_task = stage.tasks[names[strong_cell], seed]
    common = [name for name in weak.task.info.class_names if name in strong_task.info.class_names]
    if not common:
        raise ExportRefused(f"the two have no class in common: {weak_cell} knows {weak.task.info.class_names}")
    shared = {"kind": "patch", "seed": seed, "weak": weak_cell, "strong": strong_cell}
    key = stage.key(strong_cell, seed)
    library = stored_library(stage.store, key)
    for name in common:
        module = open_module(stage.store, key, name, weak=weak, task=strong_task, library=library)
        for way in scenario.ways:
            if way == "score" and not module.has_head:
                continue
            yield from (shared | row for row in _effects(weak, module, way, stage.splits(weak_cell, seed)))


def _effects(weak: WeakNetwork, module: StrongModule, way: Any, splits: Iterator[tuple[str, Split]]) -> Iterator[Row]:
    target = weak.class_index(module.class_name)
    network = patched_network(weak, module, target=target, way=way)
    for split, samples in splits:
        effect = effect_of(network, weak, samples, target=target, way=way)
        control = {} if effect.control is None else asdict(effect.control)
        yield {
            "split": split,
            "num_samples": effect.num_samples,
            "weak_run": weak.result.key,
            "strong_run": module.result.key,
            "way": way,
            "class_name": module.class_name,
            **{f"before_{name}": value for name, value in asdict(effect.before).items()},
            **{f"after_{name}": value for name, value in asdict(effect.after).items()},
            **{f"control_{name}": value for name, value in control.items()},
            "weak_macs": _macs(weak.network),
            "macs": _macs(network),
        }


def _new_task(scenario: NewTaskScenario, stage: _Stage, tell: Tell) -> Iterator[Row]:
    scratch_cell = f"{scenario.task}/{scenario.scratch}"
    what = f"new task {scenario.task}"
    if _missing((scratch_cell, *scenario.sources), stage, what, tell):
        return
    for seed in stage.study.seeds:
        try:
            sources = open_sources(stage.store, [stage.key(cell, seed) for cell in scenario.sources])
            scratch = open_weak(
                stage.store,
                stage.key(scratch_cell, seed),
                variant=stage.chosen[scratch_cell].variant,
                task=stage.tasks[scenario.task, seed],
            )
            picks = _picks(scratch.task, sources)
        except PareError as error:
            tell(f"{what} left out for seed {seed}: {error}")
            continue
        normalization = picks[0].normalization
        composed = as_deployed(compose_across(picks), normalization).network
        for split, samples in stage.splits(scratch_cell, seed):
            scores = predict(composed, samples, normalization=normalization, device="cpu")
            targets = samples.targets.cpu()
            yield {
                "kind": "new_task",
                "seed": seed,
                "split": split,
                "num_samples": len(samples),
                "weak": scratch_cell,
                "strong": ", ".join(scenario.sources),
                "weak_run": scratch.result.key,
                "strong_run": ", ".join(source.key for source in sources),
                "accuracy": float((scores.argmax(dim=1) == targets).double().mean()),
                "scratch_accuracy": float((scratch.logits(samples).argmax(dim=1) == targets).double().mean()),
                "weak_macs": _macs(scratch.network),
                "macs": _macs(composed),
            }


def _picks(task: PreparedTask, sources: Sequence[SourceRun]) -> list[ModulePick]:
    """For each class of the task the module with the best F1 on validation samples of the classes its library knows."""
    names = task.info.class_names
    unknown = [name for name in names if not any(source.knows(name) for source in sources)]
    if unknown:
        raise UnknownRecord(f"no module of the class '{unknown[0]}' in any of the cells")
    table = [_f1(task, source) for source in sources]
    chosen = best_modules(table)
    return [sources[index].pick(name) for index, name in zip(chosen, names, strict=True)]


def _f1(task: PreparedTask, source: SourceRun) -> list[float]:
    """Of the source's modules, in the order of the task's classes; not a number where it has none of a class."""
    names = task.info.class_names
    # A class that the task has not gets a label of its own, which no sample has.
    labels = [
        names.index(name) if name in names else len(names) + place
        for place, name in enumerate(source.library.class_names)
    ]
    found = module_f1(source.library, task.validation, labels=labels, normalization=source.normalization, device="cpu")
    by_name = dict(zip(source.library.class_names, found, strict=True))
    return [by_name.get(name, float("nan")) for name in names]


def _macs(network: Network) -> int:
    return count_macs(network, network.architecture.input_shape)
