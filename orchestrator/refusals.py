"""Which cells of a study their methods will refuse, told before the others have trained for hours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from methods.registry import config_class, method_class
from orchestrator.search.space import first_values
from orchestrator.spec import Cell, Study

if TYPE_CHECKING:
    from methods.contract import TaskInfo
    from methods.tasks import TaskData


def refusals(study: Study, tasks: Mapping[str, TaskData]) -> dict[str, str]:
    """Cell -> why its method cannot work on its task, with the configuration that is tried first.

    Such a cell is no fault of the study: the report shows the method as without an answer there.
    """
    from methods.tasks import task_info

    found: dict[str, str] = {}
    infos: dict[str, TaskInfo] = {}
    for cell in study.cells:
        name = cell.task_name
        if name not in infos:
            infos[name] = task_info(cell.task, tasks[name], name)
        if reason := _refusal(cell, infos[name]):
            found[cell.name] = reason
    return found


def _refusal(cell: Cell, info: TaskInfo) -> str:
    from methods.contract import UnsupportedTask

    kind = config_class(cell.entry.method)
    config = kind(**{**cell.entry.fixed, **first_values(cell.entry.space, kind)})
    try:
        method_class(cell.entry.method)(config).check(info)
    except UnsupportedTask as error:
        return str(error)
    return ""
