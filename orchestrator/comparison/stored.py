"""A study's comparison from its store."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from orchestrator.comparison.model import Comparison, Terms
from orchestrator.comparison.tasks import compare_tasks
from orchestrator.errors import StoreProblem, UnknownRecord
from orchestrator.results import SCHEMA
from orchestrator.spec import StudySettings

if TYPE_CHECKING:
    from orchestrator.store import Store


def compare(store: Store, study_name: str) -> Comparison:
    """Compare the methods of a study by its `results.parquet`.

    Raises:
        UnknownRecord: There is no such study, or it has no results yet.
        StoreProblem: The store cannot be read, or the study file in it cannot be understood.
    """
    folder = store.study(study_name)
    question, terms, tasks = read_terms(folder.read_spec(), study_name)
    table = read_results(store, study_name)
    found = compare_tasks(table.to_pylist(), terms)
    in_order = sorted(found, key=lambda one: tasks.index(one.task) if one.task in tasks else len(tasks))
    return Comparison(study_name, question, terms, tuple(in_order))


def read_results(store: Store, study_name: str) -> pa.Table:
    """The study's results table.

    Raises:
        UnknownRecord: It has not been written yet.
        StoreProblem: It is there but cannot be read.
    """
    data = store.study(study_name).read_file("results.parquet")
    if data is None:
        raise UnknownRecord(f"{store}: study '{study_name}' has no results yet; run it with `pare run`.")
    try:
        return pq.read_table(io.BytesIO(data), schema=SCHEMA)
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreProblem(f"{store}: results.parquet of study '{study_name}' is not readable ({error})") from error


def read_terms(spec_text: str, study_name: str) -> tuple[str, Terms, list[str]]:
    """Question, terms and task names of a study file.

    The file is not checked whole: a report must open where the study's data and environment are absent.

    Raises:
        StoreProblem: It cannot be understood.
    """
    try:
        document = yaml.safe_load(spec_text)
        wanted = ("study", "question", "seeds", "report")
        # Of the search one number alone: the rest may hold what another version wrote.
        extra = {key: value for key, value in (document.get("search") or {}).items() if key == "extra_seeds"}
        settings = StudySettings.model_validate(
            {key: document[key] for key in wanted if key in document} | {"search": extra}
        )
        methods = {str(label): entry or {} for label, entry in document["methods"].items()}
        tasks = [str(name) for name in document["tasks"]]
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreProblem(f"study '{study_name}': study.yaml in the store is not readable ({error})") from error
    dense = tuple(label for label, entry in methods.items() if entry.get("method", label) == "dense")
    return settings.question, terms_of(settings, dense_labels=dense), tasks


def terms_of(settings: StudySettings, *, dense_labels: tuple[str, ...]) -> Terms:
    """What a study compares by."""
    return Terms(
        seeds=settings.seeds,
        measure=settings.report.measure,
        tolerance=settings.report.tolerance,
        size_budgets=settings.report.size_budgets,
        dense_labels=dense_labels,
        extra_seeds=settings.search.extra_seeds,
    )
