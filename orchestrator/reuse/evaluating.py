"""Carries out a study's reuse scenarios with the networks that were confirmed, seed by seed.

Nothing is chosen here by what the test split says: which configuration stands for a cell is the comparison's choice,
ways and classes are all tried, and modules of a new task are chosen on validation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from methods.contract import Split
from methods.measure import predict
from methods.modules.patching import patched
from methods.modules.picks import ModulePick
from methods.modules.reuse import compose_across
from methods.tasks import PreparedTask, TaskData, build_task, open_test
from orchestrator.class_modules.choosing import choose, f1_as_stored
from orchestrator.class_modules.composing import as_deployed
from orchestrator.class_modules.inputs import require_same_inputs
from orchestrator.class_modules.patching import effect_of, macs_of
from orchestrator.class_modules.sources import SourceRun, Wish, open_sources
from orchestrator.class_modules.weak import StrongModule, WeakNetwork, open_module, open_weak, patch_layer
from orchestrator.comparison import Comparison, Configuration
from orchestrator.deployment import deployed
from orchestrator.errors import ExportRefused, PareError, UnknownRecord
from orchestrator.library_results import stored_library
from orchestrator.spec import NewTaskScenario, PatchScenario, Study
from orchestrator.store import Store

Row = dict[str, Any]


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


def evaluate_reuse(study: Study, store: Store, data: Mapping[str, TaskData], comparison: Comparison) -> list[Row]:
    """Rows of the reuse table, see `orchestrator.reuse.table`; what cannot be carried out has a row with the reason.

    Reads the test split, so the study's own must have been opened before: nothing is searched after that.

    Args:
        study: With `reuse`.
        data: Of its tasks, test splits included.
        comparison: Of its confirmed runs.
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
        rows += _patches(study.reuse.patch, stage)
    for scenario in study.reuse.new_tasks:
        rows += _new_task(scenario, stage)
    return [{"study": study.name, **row} for row in rows]


def _chosen(comparison: Comparison) -> dict[str, Configuration]:
    found: dict[str, Configuration] = {}
    for task in comparison.tasks:
        for label in comparison.terms.dense_labels:
            # A study may have several, e.g. one that is trained too short to be patched.
            own = [one for one in task.configurations if one.method == label]
            if own:
                found[f"{task.task}/{label}"] = max(own, key=lambda one: (one.validation.mean, -one.trial))
        for one in deployed(task, comparison.terms):
            found[f"{task.task}/{one.configuration.method}"] = one.configuration
    return found


def _lacking(cells: Sequence[str], stage: _Stage) -> str:
    """Why a scenario of these cells cannot begin; empty: it can."""
    lacking = [cell for cell in cells if cell not in stage.chosen]
    return f"{', '.join(lacking)} has no configuration that finished with every seed" if lacking else ""


def _patches(scenario: PatchScenario, stage: _Stage) -> Iterator[Row]:
    for weak_cell in scenario.weak:
        for strong_cell in scenario.strong:
            pair = {"kind": "patch", "weak": weak_cell, "strong": strong_cell}
            if reason := _lacking((weak_cell, strong_cell), stage):
                yield pair | {"reason": reason}
                continue
            for seed in stage.study.seeds:
                for row in _patched(weak_cell, strong_cell, seed, scenario, stage):
                    yield pair | {"seed": seed} | row


def _patched(weak_cell: str, strong_cell: str, seed: int, scenario: PatchScenario, stage: _Stage) -> Iterator[Row]:
    try:
        weak, modules = _opened(weak_cell, strong_cell, seed, stage)
    except PareError as error:
        yield {"reason": str(error)}
        return
    for way in scenario.ways:
        if way == "score" and not modules[0].has_head:
            continue
        try:
            # All classes or none: means over classes compare seeds.
            yield from [row for module in modules for row in _effects(weak, module, way, stage.splits(weak_cell, seed))]
        except PareError as error:
            yield {"way": way, "reason": str(error)}


def _opened(weak_cell: str, strong_cell: str, seed: int, stage: _Stage) -> tuple[WeakNetwork, list[StrongModule]]:
    """The weak network, and a module for each class that both know.

    Raises:
        PareError: They do not fit together, or one of them cannot be read.
    """
    weak_task, strong_task = (stage.tasks[cell.partition("/")[0], seed] for cell in (weak_cell, strong_cell))
    weak = open_weak(stage.store, stage.key(weak_cell, seed), variant=stage.chosen[weak_cell].variant, task=weak_task)
    common = [name for name in weak_task.info.class_names if name in strong_task.info.class_names]
    if not common:
        raise ExportRefused(
            f"the two have no class in common: {weak_cell} knows {', '.join(weak_task.info.class_names)}"
        )
    key = stage.key(strong_cell, seed)
    library = stored_library(stage.store, key)
    return weak, [open_module(stage.store, key, name, weak=weak, task=strong_task, library=library) for name in common]


def _effects(weak: WeakNetwork, module: StrongModule, way: Any, splits: Iterator[tuple[str, Split]]) -> Iterator[Row]:
    target = weak.class_index(module.class_name)
    layer = patch_layer(weak, module, target=target, way=way)
    macs = macs_of(patched(weak.network, module.network, layer))
    for split, samples in splits:
        # What the patched network answers, without asking its parts again for each class and way.
        after = layer.scores(weak.logits(samples), module.scores(samples))
        effect = effect_of(after, weak, samples, target=target, way=way)
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
            "weak_macs": macs_of(weak.network),
            "macs": macs,
        }


def _new_task(scenario: NewTaskScenario, stage: _Stage) -> Iterator[Row]:
    scratch_cell = f"{scenario.task}/{scenario.scratch}"
    place = {"kind": "new_task", "weak": scratch_cell, "strong": ", ".join(scenario.sources)}
    if reason := _lacking((scratch_cell, *scenario.sources), stage):
        yield place | {"reason": reason}
        return
    for seed in stage.study.seeds:
        try:
            rows = list(_composed(scenario, scratch_cell, seed, stage))
        except PareError as error:
            rows = [{"reason": str(error)}]
        yield from (place | {"seed": seed} | row for row in rows)


def _composed(scenario: NewTaskScenario, scratch_cell: str, seed: int, stage: _Stage) -> Iterator[Row]:
    sources = open_sources(stage.store, [stage.key(cell, seed) for cell in scenario.sources])
    scratch = open_weak(
        stage.store,
        stage.key(scratch_cell, seed),
        variant=stage.chosen[scratch_cell].variant,
        task=stage.tasks[scenario.task, seed],
    )
    for source in sources:
        require_same_inputs((scratch.result, scratch.network), (source.result, source.library.network))
    picks = _picks(scratch.task.info.class_names, sources)
    normalization = picks[0].normalization
    composed = as_deployed(compose_across(picks), normalization).network
    for split, samples in stage.splits(scratch_cell, seed):
        scores = predict(composed, samples, normalization=normalization, device="cpu")
        targets = samples.targets.cpu()
        yield {
            "split": split,
            "num_samples": len(samples),
            "weak_run": scratch.result.key,
            "strong_run": ", ".join(source.key for source in sources),
            "accuracy": float((scores.argmax(dim=1) == targets).double().mean()),
            "scratch_accuracy": float((scratch.logits(samples).argmax(dim=1) == targets).double().mean()),
            "weak_macs": macs_of(scratch.network),
            "macs": macs_of(composed),
        }


def _picks(class_names: Sequence[str], sources: Sequence[SourceRun]) -> list[ModulePick]:
    """For each class the module with the best F1 on its own run's validation samples: those of the new task may have
    trained it."""
    unknown = [name for name in class_names if not any(source.knows(name) for source in sources)]
    if unknown:
        raise UnknownRecord(f"no module of the class '{unknown[0]}' in any of the cells")
    by_key = {source.key: source for source in sources}
    chosen = choose([Wish(name) for name in class_names], sources, f1_as_stored(sources))
    return [by_key[choice.run_key].pick(choice.class_name) for choice in chosen]
