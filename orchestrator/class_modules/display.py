"""Class modules in a terminal: which runs have them, one run's, a composition that was written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.display import show_export, show_sizes, table, terminal

if TYPE_CHECKING:
    from orchestrator.class_modules import Composition, CompositionAcross, LibraryLine
    from orchestrator.class_modules.choosing import Choice
    from orchestrator.module_results import ModulesResult


_PAIRS_SHOWN = 5


def show_libraries(lines: Sequence[LibraryLine], *, store: str) -> None:
    """Print one line per run with class modules."""
    console = terminal()
    if not lines:
        console.print(
            f"no run with class modules in {store}; those of activation_driven, gradsplitter and cnnsplitter have them"
        )
        return
    headings = (
        *("run", "task", "method", "settings", "seed", "classes"),
        *("module size", "kernels kept", "overlap", "reuse accuracy"),
    )
    rows = [
        (
            line.run_key,
            line.task,
            line.method,
            ", ".join(f"{name} {value}" for name, value in line.config.items()) or "defaults",
            str(line.seed),
            str(line.num_classes),
            f"{line.module_size:.1%}",
            _share(line.kernels_kept),
            f"{line.overlap:.1%}",
            "-" if line.reuse_accuracy is None else f"{line.reuse_accuracy:.4f}",
        )
        for line in lines
    ]
    console.print(table(headings, rows, num_left=4))
    console.print(
        "module size and overlap: mean share of the whole network's parameters; kernels kept: of its convolutions; "
        "reuse accuracy: of compositions on validation, mean over numbers of classes"
    )


def show_library(key: str, modules: ModulesResult) -> None:
    """Print one run's class modules, and what compositions of them are worth."""
    console = terminal()
    settings = ", ".join(f"{name} {value}" for name, value in modules.settings.items())
    kind = "class modules, side by side," if modules.composition == "side_by_side" else "class modules"
    console.print(f"{key}: {len(modules.cards)} {kind} of its network '{modules.variant}' ({settings})")
    headings = ("class", "parameters", "bytes", "MACs", "units kept", "kernels kept", "precision", "recall", "F1")
    rows = [
        (
            card.class_name,
            *(f"{size:,}" for size in (card.sizes.parameters, card.sizes.stored_bytes, card.sizes.macs)),
            f"{card.units_kept:.1%}",
            _share(card.kernels_kept),
            *(f"{value:.4f}" for value in (card.precision, card.recall, card.f1)),
        )
        for card in modules.cards
    ]
    console.print(table(headings, rows, num_left=1))
    console.print("sizes as deployed; precision, recall and F1 of the class in the composition of all, on validation")
    kernels = "" if modules.kernels_kept is None else f", {modules.kernels_kept:.1%} of the convolution kernels"
    alike = "" if modules.cohesion is None else f", of those that two samples of a class fire {modules.cohesion:.2f}"
    console.print(
        f"mean module {modules.module_size:.1%} of the parameters and {modules.module_macs:.1%} of the MACs{kernels}; "
        f"two share {modules.overlap:.1%}; Jaccard index of their units {modules.coupling:.2f}{alike}"
    )
    columns = ("classes", "subsets", "accuracy", "parameters", "MACs")
    lines = [
        (
            str(one.num_classes),
            f"{one.subsets:,}",
            f"{one.accuracy:.4f}",
            f"{one.parameters_ratio:.1%}",
            f"{one.macs_ratio:.1%}",
        )
        for one in modules.subtasks
    ]
    if lines:
        console.print(table(columns, lines, num_left=0))
        console.print(
            "compositions, mean over subsets of so many classes: validation accuracy, and share of the dense "
            "network as deployed"
        )
        if modules.composition == "side_by_side":
            console.print(
                "their parameters are those that the modules share, and heads; their MACs those of all of them"
            )
    _show_pairs(modules)


def _show_pairs(modules: ModulesResult) -> None:
    """Print which classes hang together most."""
    if not modules.pairs:
        return
    console = terminal()
    rows = [
        (
            " and ".join(pair.classes),
            f"{pair.risk:.1%}",
            f"{pair.confusion:.1%}",
            f"{pair.coupling:.2f}",
            "-" if pair.lost is None else f"{pair.lost:.4f}",
        )
        for pair in modules.pairs[:_PAIRS_SHOWN]
    ]
    console.print(table(("riskiest to cut apart", "risk", "confused", "units in common", "lost"), rows, num_left=1))
    console.print(
        "risk: how often the module of one scores a sample of the other above one of its own; confused: by the whole "
        "network; lost: accuracy on the two when their modules are composed"
    )
    if modules.foretold is not None:
        console.print(f"rank correlation of risk and loss over all composed pairs: {modules.foretold:.2f}")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def show_composition(made: Composition) -> None:
    """Print what a composition is worth and where it was written."""
    console = terminal()
    what = "module" if len(made.classes) == 1 else "composition"
    console.print(f"{what} of {', '.join(made.classes)}", style="bold")
    if made.accuracy is None:
        console.print(f"accuracy: not measured; {made.not_measured}")
    else:
        console.print(f"accuracy: {made.accuracy:.4f} on {made.num_samples} validation samples of these classes")
    show_sizes(console, made.sizes, made.dense_sizes, dense="the dense network's")
    show_export(made.export)


def show_composition_across(made: CompositionAcross) -> None:
    """Print which run gives which module, what the composition is worth beside each run's own, where it was written."""
    console = terminal()
    console.print(f"composition of {', '.join(made.classes)}", style="bold")
    rows = [
        (
            choice.class_name,
            choice.run_key,
            choice.method,
            _reason(choice),
            _decimal(choice.f1),
            _decimal(choice.next_best),
        )
        for choice in made.choices
    ]
    console.print(table(("class", "run", "method", "chosen as", "F1", "next best run"), rows, num_left=4))
    console.print(f"F1: one class against the others, on {made.f1_measured_on}")
    found = made.measured
    if found.accuracy is None:
        console.print(f"accuracy: not measured; {found.not_measured}")
    else:
        console.print(
            f"accuracy: {found.accuracy:.4f} on these {found.num_samples} samples, by which modules were chosen too"
        )
    if found.single_runs:
        best = max(found.single_runs, key=lambda key: found.single_runs[key])
        console.print(f"best single run: {found.single_runs[best]:.4f}, {best} with its own modules of these classes")
        for key, accuracy in found.single_runs.items():
            console.print(f"  {key} by itself: {accuracy:.4f}")
    if made.caution:
        console.print(f"caution: {made.caution}")
    console.print("sizes, each module a branch of its own, so that weights which two have in common are there twice:")
    show_sizes(console, made.sizes, made.dense_sizes, dense=f"run {made.choices[0].run_key}'s dense network's")
    show_export(made.export)


def _reason(choice: Choice) -> str:
    if choice.pinned:
        return "asked for"
    return "best F1" if len(choice.f1_by_run) > 1 else "only run"


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
