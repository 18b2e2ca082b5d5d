"""The samples of a study's tasks, loaded and split before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from methods.data.dataset import DataError
from methods.data.load import load_dataset
from methods.tasks import TaskData, prepare
from orchestrator.errors import DataProblem
from orchestrator.spec import Study

if TYPE_CHECKING:
    from methods.data.dataset import DataSet


def load_tasks(study: Study, tell: Callable[[str], None] = lambda _: None) -> dict[str, TaskData]:
    """Task name -> its samples. A data set that several tasks use is loaded once.

    Args:
        study: Checked.
        tell: Hears a sentence per data set, for the user who waits.

    Raises:
        DataProblem: A data set is missing or broken, or too small for its task.
    """
    loaded: dict[tuple[str, float], DataSet] = {}
    tasks = {}
    for name, task in study.tasks.items():
        try:
            place = (task.data.model_dump_json(), task.test_share)
            if place not in loaded:
                tell(f"loading {task.data.source}")
                loaded[place] = load_dataset(task.data, test_share=task.test_share)
                left_out = loaded[place].undecodable
                if left_out:
                    tell(f"{task.data.source}: left out {len(left_out)} images that do not decode: {left_out[0]} ...")
            tasks[name] = prepare(task, loaded[place])
            if task.skew is not None:
                counts = ", ".join(f"{label} {count}" for label, count in tasks[name].class_counts.items())
                tell(f"task {name}: its skewed training part has of each class: {counts}")
            encoding = tasks[name].encoding
            if encoding is not None and encoding.left_out:
                columns = ", ".join(encoding.left_out)
                tell(f"task {name}: left out columns that never change in its training part: {columns}")
        except DataError as error:
            raise DataProblem(f"task {name}: {error}") from error
    return tasks
