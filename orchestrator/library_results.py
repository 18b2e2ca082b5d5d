"""From a graded library of class modules to what is stored of it, and what the test split says of its compositions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
from scipy import stats

from methods.artefact import load_network
from methods.contract import Outcome, Split, Task
from methods.figures import Heatmap, Line, LineChart
from methods.measure.subtasks import graded_subsets, mean_by_size
from methods.modules.dependence import Dependence
from methods.modules.grading import LibraryGrades, SubtaskGrades, subtask_accuracies
from methods.modules.library import ModuleLibrary
from methods.modules.side_by_side import SideBySide
from methods.modules.stored import load_library
from orchestrator.errors import StoreProblem, UnknownRecord
from orchestrator.module_results import ClassPair, ModuleCard, ModulesResult, SubtaskSize
from orchestrator.runs import GradedVariant
from orchestrator.sizes import Sizes
from orchestrator.subtask_table import TEST_KEY

if TYPE_CHECKING:
    from orchestrator.store import Store


LIBRARY_CHARTS = ("accuracy_by_subtask", "size_by_subtask", "interference_of_classes")
"""Names of the figures that a run with class modules may have."""
_MOST_DRAWN = 20
"""Classes whose pairs can be told apart in a picture."""
PAIRS_KEPT = 20
"""Pairs of classes that are stored with a run; of ten classes there are 45, of a hundred 4,950."""


def library_variant(outcome: Outcome) -> str:
    """Label of the variant whose network the outcome's library was cut from.

    Raises:
        ValueError: None of them is; a stored library could not be opened again.
    """
    assert outcome.library is not None
    for variant in outcome.variants:
        if variant.network is outcome.library.network:
            return variant.label
    raise ValueError(
        "the library's network is none of the delivered variants; deliver it as one, e.g. 'whole', or 'source' where "
        "the method was given it"
    )


def modules_result(library: ModuleLibrary, grades: LibraryGrades, *, variant: str, reference: Sizes) -> ModulesResult:
    """What `outcome.json` says of a library; `reference` are the sizes of the dense network."""
    modularity, subtasks = grades.modularity, grades.subtasks
    kernels = modularity.conv_kernel_retention
    cards = [
        ModuleCard(
            class_name=name,
            units_kept=float(modularity.kernel_retention[index]),
            kernels_kept=None if kernels is None else float(kernels[index]),
            sizes=Sizes(**grades.deployed[index]),
            **grades.united.per_class[name],
        )
        for index, name in enumerate(library.class_names)
    ]
    sizes = (subtasks.parameters.double() / reference.parameters, subtasks.macs.double() / reference.macs)
    pairs, foretold = _pairs(grades)
    means = [mean_by_size(subtasks.subsets, values) for values in (subtasks.accuracy, *sizes)]
    count = subtasks.subsets.sum(dim=1)
    return ModulesResult(
        variant=variant,
        settings=dict(library.settings),
        composition=library.composition,
        cards=tuple(cards),
        module_size=modularity.mean_module_size,
        module_macs=modularity.mean_macs_share,
        units_kept=modularity.mean_kernel_retention,
        kernels_kept=modularity.mean_conv_kernel_retention,
        overlap=modularity.mean_overlap,
        coupling=modularity.mean_coupling,
        cohesion=grades.cohesion,
        united_accuracy=grades.united.values["accuracy"],
        subtasks=tuple(
            SubtaskSize(
                num_classes=size,
                subsets=int((count == size).sum()),
                accuracy=means[0][size],
                parameters_ratio=means[1][size],
                macs_ratio=means[2][size],
            )
            for size in means[0]
        ),
        pairs=pairs,
        foretold=foretold,
    )


def _pairs(grades: LibraryGrades) -> tuple[tuple[ClassPair, ...], float | None]:
    """The riskiest pairs of classes, and how well the risk of all composed pairs foretold what they lost."""
    found, subtasks = grades.dependence, grades.subtasks
    lost = {
        tuple(subset_K.nonzero().flatten().tolist()): float(whole - composed)
        for subset_K, whole, composed in zip(subtasks.subsets, subtasks.whole_accuracy, subtasks.accuracy, strict=True)
        if int(subset_K.sum()) == 2 and not math.isnan(float(composed))
    }
    pairs = tuple(
        ClassPair(
            classes=(found.class_names[i], found.class_names[j]),
            risk=float(found.risk[i, j]),
            confusion=float(found.confusion[i, j]),
            coupling=float(found.coupling[i, j]),
            lost=lost.get((i, j)),
        )
        for i, j in found.riskiest(PAIRS_KEPT)
    )
    risks = [float(found.risk[pair]) for pair in lost]
    losses = list(lost.values())
    if len(lost) < 3 or len(set(risks)) == 1 or len(set(losses)) == 1:
        return pairs, None
    return pairs, float(stats.spearmanr(risks, losses).statistic)


def subsets_table(library: ModuleLibrary, subtasks: SubtaskGrades, *, reference: Sizes) -> pa.Table:
    """One row per evaluated subset of the classes: what is stored as `subtasks.parquet` of a run."""
    names = library.class_names
    chosen = [[names[index] for index in row.nonzero().flatten().tolist()] for row in subtasks.subsets]
    return pa.table(
        {
            "num_classes": pa.array([len(classes) for classes in chosen], pa.int64()),
            "classes": pa.array(chosen, pa.list_(pa.string())),
            "val_accuracy": pa.array(subtasks.accuracy.tolist(), pa.float64()),
            "parameters_ratio": pa.array((subtasks.parameters.double() / reference.parameters).tolist(), pa.float64()),
            "macs_ratio": pa.array((subtasks.macs.double() / reference.macs).tolist(), pa.float64()),
        }
    )


def subtask_charts(modules: ModulesResult, variants: Sequence[GradedVariant]) -> tuple[LineChart, ...]:
    """Accuracy and size against the number of classes, of compositions and of the whole network they were cut from."""
    composed = modules.subtasks
    whole = next(variant for variant in variants if variant.label == modules.variant).subtasks
    if not composed:
        return ()
    sizes = tuple(float(one.num_classes) for one in composed)
    accuracy = LineChart(
        name=LIBRARY_CHARTS[0],
        title="Validation accuracy on k classes, mean over subsets",
        x_label="k, number of classes",
        y_label="accuracy",
        lines=(
            Line(label="composed modules", x=sizes, y=tuple(one.accuracy for one in composed)),
            Line(
                label="whole network, other logits cut off",
                x=tuple(map(float, whole)),
                y=tuple(whole.values()),
            ),
        ),
    )
    size = LineChart(
        name=LIBRARY_CHARTS[1],
        title="Size of compositions for k classes as deployed, share of the dense network",
        x_label="k, number of classes",
        y_label="share of the dense network",
        lines=(
            Line(label="parameters", x=sizes, y=tuple(one.parameters_ratio for one in composed)),
            Line(label="multiply-accumulates", x=sizes, y=tuple(one.macs_ratio for one in composed)),
        ),
    )
    return accuracy, size


def dependence_chart(found: Dependence) -> tuple[Heatmap, ...]:
    """How much the modules of single classes mistake each other's samples for their own; empty for many classes."""
    names = found.class_names
    if not 2 <= len(names) <= _MOST_DRAWN:
        return ()
    values = tuple(
        tuple(None if column == row or math.isnan(value) else round(value, 6) for column, value in enumerate(values))
        for row, values in enumerate(found.interference.tolist())
    )
    return (
        Heatmap(
            name=LIBRARY_CHARTS[2],
            title="How often a module alone scores a sample of another class above one of its own",
            x_label="class of the sample",
            y_label="module",
            rows=names,
            columns=names,
            values=values,
        ),
    )


def stored_library(store: Store, key: str) -> ModuleLibrary:
    """The class modules of a finished run, on the CPU.

    Raises:
        UnknownRecord: The run is not finished or has no modules.
        StoreProblem: What is stored of them is damaged, or does not belong together.
    """
    modules = modules_of(store, key)
    data = store.read_modules(key)
    mend = "delete that folder, and `pare resume` trains the run again"
    if data is None:
        raise StoreProblem(f"{store}/runs/{key}: modules.safetensors is missing; {mend}")
    try:
        network = load_network(store.read_variant(key, modules.variant).weights).eval()
        if isinstance(network, SideBySide):
            raise StoreProblem(f"{store}/runs/{key}: variant '{modules.variant}' has modules itself; {mend}")
        return load_library(data, network)
    except ValueError as error:
        raise StoreProblem(f"{store}/runs/{key}: its class modules cannot be read ({error}) {mend}") from error


def modules_of(store: Store, key: str) -> ModulesResult:
    """What is known of the class modules of a finished run.

    Raises:
        UnknownRecord: There is no such run, it is not finished, or it has no class modules.
    """
    result = store.finished_run(key)
    if result.modules is None:
        raise UnknownRecord(
            f"{store}: run {key} of '{result.run.method}' has no class modules; `pare modules list` names the runs "
            "that have"
        )
    return result.modules


def tested_compositions(store: Store, key: str, split: Split, task: Task) -> dict[str, float]:
    """Accuracy of compositions on the test split by number of classes, keyed as in a study's test sheet."""
    library = stored_library(store, key)
    library.network.to(task.device)
    if library.heads is not None:
        library.heads.to(task.device)
    subsets_SK = graded_subsets(len(library.class_names))
    accuracy_S = subtask_accuracies(library, subsets_SK, split, task)
    return {f"{TEST_KEY}{size}": value for size, value in mean_by_size(subsets_SK, accuracy_S).items()}
