"""Tables for a terminal: plans, studies, runs, class modules, exported networks, the findings of the doctor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.progress import duration

if TYPE_CHECKING:
    from orchestrator.doctor import Check
    from orchestrator.export import Export
    from orchestrator.module_results import ModulesResult
    from orchestrator.morphing import Morphed
    from orchestrator.plan import Plan
    from orchestrator.rerun import Rerun
    from orchestrator.runs import GradedVariant, RunResult
    from orchestrator.status import StudyStatus

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def show_status(status: StudyStatus) -> None:
    """Print where one study stands."""
    console = terminal()
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
    console.print(table(headings, rows, num_left=2))


def show_checks(checks: Iterable[Check]) -> None:
    """Print one line per finding, and its mend below."""
    console = terminal()
    for check in checks:
        console.print(Text.assemble((f"{check.status:4} ", _COLOURS[check.status]), f"{check.name}: {check.found}"))
        if check.mend:
            console.print(f"       mend: {check.mend}")


def show_plan(plan: Plan) -> None:
    """Print what a study would do and about how long that takes."""
    console = terminal()
    rows = [(cell.task, cell.method, str(cell.trials), str(cell.runs), _count(cell.cached)) for cell in plan.cells]
    console.print(table(("task", "method", "trials", "runs", "cached"), rows, num_left=2))
    parts = [f"{plan.search_runs} search", f"{plan.confirm_runs} confirmation"]
    if plan.prerequisites:
        parts.append(f"{len(plan.prerequisites)} prerequisite")
    console.print(f"runs: {', '.join(parts)}; {plan.cache_hits} in the store already")
    for cell in plan.cells:
        if cell.refused:
            console.print(f"{cell.task}/{cell.method} will have no result: {cell.refused}")
    if plan.closed:
        console.print("the test split was opened before, so this study is closed: only its views would be made anew")
        return
    time = f"{duration(plan.seconds_low)} to {duration(plan.seconds_high)}"
    console.print(f"about {time} with {plan.workers} at a time, early stopping left out")


def show_rerun(rerun: Rerun) -> None:
    """Print the recorded figures of a run beside those of its repetition."""
    console = terminal()
    rows = []
    for before, after in zip(rerun.recorded.variants, rerun.repeated.variants, strict=True):
        for name, value in before.validation.items():
            rows.append((before.label, f"validation {name}", f"{value:.4f}", f"{after.validation[name]:.4f}"))
        for name, size in before.sizes:
            rows.append((before.label, name, f"{size:,}", f"{getattr(after.sizes, name):,}"))
    console.print(table(("variant", "figure", "recorded", "repeated"), rows, num_left=2))
    same = _figures(rerun.recorded, rerun.repeated) == _figures(rerun.repeated, rerun.recorded)
    console.print("every figure is the same" if same else "figures differ; see the environments in both outcome.json")
    console.print(f"repeated run: {rerun.store}")


def _figures(result: RunResult, other: RunResult) -> list[GradedVariant | ModulesResult]:
    """What was measured of a run, without what an earlier version did not measure of the other."""
    variants = [
        one if two.subtasks else one.model_copy(update={"subtasks": {}})
        for one, two in zip(result.variants, other.variants, strict=True)
    ]
    return [*variants, *([result.modules] if result.modules and other.modules else [])]


def show_export(export: Export) -> None:
    """Print what was written, what was verified, and what the file takes."""
    console = terminal()
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


def show_sizes(console: Console, sizes: dict[str, int], dense_sizes: dict[str, int], *, dense: str) -> None:
    """Print the sizes of a network, each as a share of another's, which `dense` names."""
    for name, size in sizes.items():
        console.print(f"{name.replace('_', ' ')}: {size:,}, {size / dense_sizes[name]:.1%} of {dense}")


def show_morphed(made: Morphed) -> None:
    """Print what a network drawn from a generator is worth, what the generator takes, and where it was written."""
    console = terminal()
    settings = made.settings
    depth = f", depth {settings['depth']}" if "depth" in settings else ""
    console.print(
        f"width {settings['width']:g}{depth}, compression ratio {settings['compression_ratio']:g}", style="bold"
    )
    if made.accuracy is None:
        console.print(f"accuracy: not measured; {made.not_measured}")
    else:
        console.print(f"accuracy: {made.accuracy:.4f} on {made.num_samples} validation samples")
    show_sizes(console, made.sizes, made.dense_sizes, dense="the dense network's")
    console.print(
        f"the generator itself: {made.generator_parameters:,} parameters, {made.generator_bytes:,} bytes; the network "
        "does not need it"
    )
    show_export(made.export)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, num_left: int) -> Table:
    """Headings and rows in columns, all but the first `num_left` to the right."""
    made = Table(box=None, pad_edge=False)
    for index, heading in enumerate(headings):
        made.add_column(heading, justify="left" if index < num_left else "right")
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def _count(count: int) -> str:
    return str(count or "")


def terminal() -> Console:
    """Where all of this is printed."""
    # No markup: names and messages may hold brackets. No wrapping in a pipe: lines there are for other programs.
    console = Console(markup=False, highlight=False, emoji=False)
    return console if console.is_terminal else Console(markup=False, highlight=False, emoji=False, width=400)
