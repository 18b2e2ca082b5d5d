"""Writes the report of a study into its folder of the store."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.comparison import compare, read_results
from orchestrator.errors import StoreProblem
from orchestrator.report.chart_png import chart_png
from orchestrator.report.facts import gather_facts
from orchestrator.report.inside import shown_runs
from orchestrator.report.modules_png import modules_png
from orchestrator.report.page import page
from orchestrator.report.png import pareto_png
from orchestrator.report.widths import width_chart
from orchestrator.reuse.stored import read_reuse
from orchestrator.stored_subtasks import compare_subtasks

if TYPE_CHECKING:
    from orchestrator.store import Store


def write_report(store: Store, study_name: str, *, output: Path | None = None) -> Path:
    """Write `report.html` and `pareto.png` of a study from its `results.parquet`.

    A study with class modules gets `modules.png` as well, from its `subtasks.parquet`; one with networks of several
    widths gets `accuracy_by_width.png`, numbered from the second task on. The same results give the same page, byte for
    byte.

    Args:
        store: Where the study lies; the files go into the study's folder.
        study_name: Name of the study.
        output: Where they go instead: a folder, or the name of the page, which the pictures then lie beside. Made if
            need be; the store is only read.

    Returns:
        The page as a local file; of a remote store a copy in the folder for temporary files.

    Raises:
        UnknownRecord: There is no such study, or it has no results yet.
        StoreProblem: The store cannot be read or written, or `output` cannot be written.
    """
    comparison = compare(store, study_name)
    rows = read_results(store, study_name).to_pylist()
    shown = [one.run_key for task in comparison.tasks for one in shown_runs(task, comparison.terms)]
    facts = gather_facts(store, study_name, rows, measure=comparison.terms.measure, figures_of=shown)
    subtasks = compare_subtasks(store, study_name, comparison)
    html = page(comparison, subtasks, facts, read_reuse(store, study_name)).encode()
    pictures = {"pareto.png": pareto_png(comparison)}
    if subtasks:
        pictures["modules.png"] = modules_png(list(subtasks.values()))
    by_width = [found for task in comparison.tasks if (found := width_chart(task)) is not None]
    for number, found in enumerate(by_width):
        pictures["accuracy_by_width.png" if number == 0 else f"accuracy_by_width_{number + 1}.png"] = chart_png(found)
    if output is not None:
        return _write_local(output if output.suffix else output / "report.html", html, pictures)
    folder = store.study(study_name)
    for name, picture in pictures.items():
        folder.write_file(name, picture)
    folder.write_file("report.html", html)
    if "://" in store.uri:
        return _write_local(Path(tempfile.gettempdir()) / "paredown" / study_name / "report.html", html, pictures)
    return Path(store.uri) / "studies" / study_name / "report.html"


def _write_local(path: Path, html: bytes, pictures: Mapping[str, bytes]) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.items():
            (path.parent / name).write_bytes(picture)
        path.write_bytes(html)
    except OSError as error:
        raise StoreProblem(f"{path}: {error.strerror}; choose another place with --output") from error
    return path
