"""Tables for a terminal: plans, studies, runs, class modules, exported networks, the findings of the doctor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.progress import duration

if TYPE_CHECKING:
    from orchestrator.class_modules import Composition, LibraryLine
    from orchestrator.doctor import Check
    from orchestrator.export import Export
    from orchestrator.module_results import ModulesResult
    from orchestrator.plan import Plan
    from orchestrator.rerun import Rerun
    from orchestrator.status import StudyStatus

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def show_status(status: StudyStatus) -> None:
    """Print where one study stands."""
    console = _console()
    state = "complete, its test split is opened" if status.tested else "not complete"
    console.print(f"{status.study}: {state}; {duration(status.device_seconds)} of device time", style="bold")
    if status.question:
        console.print(status.question)
    rows = [
        (
            cell.task,
            cell.method,
            f"{cell.searched}/{cell.trials or '?'}",
            *map(_count, (cell.confirmed, cell.stopped_early, cell.failed, cell.cached)),
        )
        for cell in status.cells
    ]
    headings = ("task", "method", "searched", "confirmed", "stopped", "failed", "cached")
    console.print(_table(headings, rows, num_left=2))


def show_checks(checks: Iterable[Check]) -> None:
    """Print one line per finding, and its mend below."""
    console = _console()
    for check in checks:
        console.print(Text.assemble((f"{check.status:4} ", _COLOURS[check.status]), f"{check.name}: {check.found}"))
        if check.mend:
            console.print(f"       mend: {check.mend}")


def show_plan(plan: Plan) -> None:
    """Print what a study would do and about how long that takes."""
    console = _console()
    rows = [(cell.task, cell.method, str(cell.trials), str(cell.runs), _count(cell.cached)) for cell in plan.cells]
    console.print(_table(("task", "method", "trials", "runs", "cached"), rows, num_left=2))
    parts = [f"{plan.search_runs} search", f"{plan.confirm_runs} confirmation"]
    if plan.prerequisites:
        parts.append(f"{len(plan.prerequisites)} prerequisite")
    console.print(f"runs: {', '.join(parts)}; {plan.cache_hits} in the store already")
    time = f"{duration(plan.seconds_low)} to {duration(plan.seconds_high)}"
    console.print(f"about {time} with {plan.workers} at a time, early stopping left out")


def show_rerun(rerun: Rerun) -> None:
    """Print the recorded figures of a run beside those of its repetition."""
    console = _console()
    rows = []
    for before, after in zip(rerun.recorded.variants, rerun.repeated.variants, strict=True):
        for name, value in before.validation.items():
            rows.append((before.label, f"validation {name}", f"{value:.4f}", f"{after.validation[name]:.4f}"))
        for name, size in before.sizes:
            rows.append((before.label, name, f"{size:,}", f"{getattr(after.sizes, name):,}"))
    console.print(_table(("variant", "figure", "recorded", "repeated"), rows, num_left=2))
    same = rerun.recorded.variants == rerun.repeated.variants
    console.print("every figure is the same" if same else "figures differ; see the environments in both outcome.json")
    console.print(f"repeated run: {rerun.store}")


def show_export(export: Export) -> None:
    """Print what was written, what was verified, and what the file takes."""
    console = _console()
    console.print(f"{export.path}: {export.num_bytes:,} bytes, format {export.format}")
    console.print(f"{export.description}: its description")
    console.print(f"variant '{export.variant}' of run {export.run_key}: {export.chosen}")
    console.print(
        f"verified: read back, its logits on {export.num_samples} random samples differ from the network's by at most "
        f"{export.max_abs_difference:.1e}"
    )
    console.print(f"takes: float32, {export.input_scale}")
    for batch, times in (export.latency or {"batches": {}})["batches"].items():
        layers = times["layers"]
        sparse = "no faster" if times["sparse_ms"] is None else f"{times['sparse_ms']:.3g} ms"
        console.print(
            f"batch {batch} on this CPU: {times['dense_ms']:.3g} ms dense, sparse {sparse} "
            f"({sum(layer['is_sparse'] for layer in layers)} of {len(layers)} candidate layers as CSR)"
        )


def show_libraries(lines: Sequence[LibraryLine], *, store: str) -> None:
    """Print one line per run with class modules."""
    console = _console()
    if not lines:
        console.print(f"no run with class modules in {store}; those of activation_driven have them")
        return
    headings = ("run", "task", "method", "settings", "seed", "classes", "module size", "overlap", "accuracy")
    rows = [
        (
            line.run_key,
            line.task,
            line.method,
            ", ".join(f"{name} {value}" for name, value in line.config.items()) or "defaults",
            str(line.seed),
            str(line.num_classes),
            f"{line.module_size:.1%}",
            f"{line.overlap:.1%}",
            "-" if line.accuracy is None else f"{line.accuracy:.4f}",
        )
        for line in lines
    ]
    console.print(_table(headings, rows, num_left=4))
    console.print(
        "module size and overlap: mean share of the whole network's parameters; accuracy: of compositions on "
        "validation, mean over numbers of classes"
    )


def show_library(key: str, modules: ModulesResult) -> None:
    """Print one run's class modules, and what compositions of them are worth."""
    console = _console()
    settings = ", ".join(f"{name} {value}" for name, value in modules.settings.items())
    console.print(f"{key}: {len(modules.cards)} class modules of its network '{modules.variant}' ({settings})")
    headings = ("class", "parameters", "bytes", "MACs", "units kept", "precision", "recall", "F1")
    rows = [
        (
            card.class_name,
            *(f"{size:,}" for size in (card.sizes.parameters, card.sizes.stored_bytes, card.sizes.macs)),
            f"{card.units_kept:.1%}",
            *(f"{value:.4f}" for value in (card.precision, card.recall, card.f1)),
        )
        for card in modules.cards
    ]
    console.print(_table(headings, rows, num_left=1))
    console.print("sizes as deployed; precision, recall and F1 of the class in the composition of all, on validation")
    console.print(
        f"mean module {modules.module_size:.1%} of the parameters and {modules.module_macs:.1%} of the MACs; two share "
        f"{modules.overlap:.1%}; Jaccard index of their units {modules.coupling:.2f}"
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
        console.print(_table(columns, lines, num_left=0))
        console.print("compositions, mean over subsets of so many classes: validation accuracy, share of the network")


def show_composition(made: Composition) -> None:
    """Print what a composition is worth and where it was written."""
    console = _console()
    what = "module" if len(made.classes) == 1 else "composition"
    console.print(f"{what} of {', '.join(made.classes)}", style="bold")
    if made.accuracy is None:
        console.print(f"accuracy: not measured; {made.not_measured}")
    else:
        console.print(f"accuracy: {made.accuracy:.4f} on {made.num_samples} validation samples of these classes")
    for name, size in made.sizes.items():
        share = size / made.dense_sizes[name]
        console.print(f"{name.replace('_', ' ')}: {size:,}, {share:.1%} of the dense network's")
    show_export(made.export)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, num_left: int) -> Table:
    table = Table(box=None, pad_edge=False)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index < num_left else "right")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _count(count: int) -> str:
    return str(count or "")


def _console() -> Console:
    # No markup: names and messages may hold brackets. No wrapping in a pipe: lines there are for other programs.
    console = Console(markup=False, highlight=False, emoji=False)
    return console if console.is_terminal else Console(markup=False, highlight=False, emoji=False, width=400)
