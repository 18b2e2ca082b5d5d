"""Whether a study in the store is the one at hand: its file, its samples, the versions of its methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from methods.registry import method_version
from orchestrator.errors import Fault, StudyInvalid
from orchestrator.runs import Record
from orchestrator.spec import Study, parse_study
from orchestrator.spec.yaml_document import line_in
from orchestrator.store import StudyFolder
from orchestrator.store.files import shown

if TYPE_CHECKING:
    from methods.tasks import TaskData


def keep_spec(study: Study, folder: StudyFolder) -> None:
    """Write the study's file into the store, unless a different study of that name lies there."""
    stored = folder.read_file("study.yaml")
    if stored is not None:
        place = f"{shown(study.store)}/studies/{study.name}/study.yaml"
        # Samples may have moved since; their content is compared elsewhere.
        earlier = parse_study(stored.decode(), file=place, look_for_data=False)
        differing = [name for name, value in _identity(study).items() if _identity(earlier)[name] != value]
        if differing:
            message = (
                f"the store {shown(study.store)} holds another study of this name, with other "
                f"{' and '.join(differing)}; "
                "give this one a new name (its runs are shared all the same) or another --store"
            )
            raise StudyInvalid([Fault(study.file, 1, "study", message)])
    folder.put_spec(study.source_text)


def _identity(study: Study) -> dict[str, Any]:
    """What results depend on; budgets, resources, places and the report may change between two calls."""
    return {
        "tasks": {name: task.without_places() for name, task in study.tasks.items()},
        "methods": study.methods,
        "seeds": study.seeds,
        "search": study.search.model_copy(update={"database": None}),
    }


def refuse_changed_ground(study: Study, records: Sequence[Record], tasks: Mapping[str, TaskData]) -> None:
    """One study compares runs on the same samples by the same versions of the methods, however often it is resumed.

    Raises:
        StudyInvalid: Names what has changed.
    """
    changed = {
        ("tasks", record.task_name): "the samples are not those that this study's earlier runs saw; restore them"
        for record in records
        if record.run.data_fingerprint != tasks[record.task_name].fingerprint
    } | {
        ("methods", record.method): f"this study's earlier runs were made by version {record.run.version} of "
        f"'{record.run.method}', installed is version {method_version(record.run.method)}; install the former"
        for record in records
        if record.run.version != method_version(record.run.method)
    }
    if changed:
        mend = "or give the study a new name (runs that did not change are shared)"
        raise StudyInvalid(
            [
                Fault(study.file, line_in(study.source_text, place), ".".join(place), f"{message}, {mend}")
                for place, message in changed.items()
            ]
        )
