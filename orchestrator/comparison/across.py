"""Methods of several studies compared as if they had been run in one: on equal data, by the seeds they share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.comparison.model import Comparison, Row, Terms
from orchestrator.comparison.stored import read_results, read_terms
from orchestrator.comparison.tasks import compare_tasks
from orchestrator.errors import ComparisonRefused

if TYPE_CHECKING:
    from orchestrator.store import Store


@dataclass(frozen=True)
class StudyPlace:
    """A study in a store, and what it is called here."""

    store: Store
    study: str
    label: str


@dataclass(frozen=True)
class Across:
    """A comparison of several studies."""

    comparison: Comparison
    """Its methods are called `method@study`; the dense network is that of the first study."""
    notes: tuple[str, ...]
    """What a reader must know: seeds and tasks left out, versions mixed."""


@dataclass(frozen=True)
class _Read:
    place: StudyPlace
    terms: Terms
    rows: list[Row]
    fingerprints: dict[str, set[str]]
    """Task -> of its data."""
    settings: dict[str, dict[str, set[str]]]
    """Task -> field of its specification that is not left at its default -> values, as JSON."""
    code: set[str]
    """Commits that its results were made with."""


def compare_across(places: Sequence[StudyPlace]) -> Across:
    """Compare all methods of the studies on each task that all of them have.

    Tolerance, size budgets and measure are those of the first study. Only seeds that all studies have count.

    Raises:
        ComparisonRefused: Fewer than two studies, no task or seed in common, data or networks that differ under one
            name, or sizes that are measured differently.
        UnknownRecord: There is no such study, or it has no results yet.
        StoreProblem: A store cannot be read.
    """
    labels = [place.label for place in places]
    if len(set(labels)) < 2 or len(set(labels)) != len(labels):
        raise ComparisonRefused(f"pare compare: {', '.join(labels) or 'nothing'}; name two or more different studies")
    studies = [_read(place) for place in places]
    first = studies[0]
    measures = {study.place.label: study.terms.measure for study in studies}
    if len(set(measures.values())) > 1:
        said = ", ".join(f"{label} by {measure}" for label, measure in measures.items())
        raise ComparisonRefused(f"the studies compare sizes by different measures ({said}); run them with one")
    tasks = [name for name in first.fingerprints if all(name in study.fingerprints for study in studies)]
    if not tasks:
        said = "; ".join(f"{study.place.label}: {', '.join(sorted(study.fingerprints))}" for study in studies)
        raise ComparisonRefused(f"the studies share no task ({said}); tasks are the same if they have the same name")
    for name in tasks:
        if len(set().union(*(study.fingerprints[name] for study in studies))) > 1:
            raise ComparisonRefused(
                f"task '{name}' is not the same in these studies: its samples or their split differ; compare studies "
                "of one data set with one split_seed, fraction and validation_share"
            )
        if "network" in _differing(studies, name):
            raise ComparisonRefused(
                f"task '{name}' is not the same in these studies: sizes are shares of another network in each; compare "
                "studies with one `network`"
            )
    seeds = tuple(seed for seed in first.terms.seeds if all(seed in study.terms.seeds for study in studies))
    if not seeds:
        said = "; ".join(f"{study.place.label}: {', '.join(map(str, study.terms.seeds))}" for study in studies)
        raise ComparisonRefused(f"the studies share no seed ({said}); differences are paired by seed")
    dense = tuple(f"{label}@{first.place.label}" for label in first.terms.dense_labels)
    terms = replace(first.terms, seeds=seeds, extra_seeds=0, dense_labels=dense)
    rows = [row for study in studies for row in _renamed(study, tasks, seeds, is_first=study is first)]
    comparison = Comparison(
        study=" and ".join(labels),
        question="How do the methods of these studies compare on the tasks they share?",
        terms=terms,
        tasks=compare_tasks(rows, terms),
    )
    return Across(comparison, tuple(_notes(studies, tasks, seeds)))


def _read(place: StudyPlace) -> _Read:
    _, terms, _ = read_terms(place.store.study(place.study).read_spec(), place.study)
    rows = read_results(place.store, place.study).to_pylist()
    fingerprints: dict[str, set[str]] = {}
    settings: dict[str, dict[str, set[str]]] = {}
    code: set[str] = set()
    for key, task in sorted({(row["run_key"], row["task"]) for row in rows if row["status"] == "finished"}):
        result = place.store.read_outcome(key)
        if result is not None:
            fingerprints.setdefault(task, set()).add(result.run.data_fingerprint)
            code.add(result.environment.get("git", ""))
            for field, value in result.run.task.without_places().items():
                settings.setdefault(task, {}).setdefault(field, set()).add(json.dumps(value, sort_keys=True))
    return _Read(place, terms, rows, fingerprints, settings, code - {""})


def _differing(studies: Sequence[_Read], task: str) -> list[str]:
    """Fields of a task's specification that are not the same in all studies."""
    fields = sorted({field for study in studies for field in study.settings[task]})
    values = {field: [study.settings[task].get(field, set()) for study in studies] for field in fields}
    return [field for field in fields if len(set().union(*values[field])) > 1 or set() in values[field]]


def _renamed(study: _Read, tasks: Sequence[str], seeds: Sequence[int], *, is_first: bool) -> list[Row]:
    """Its rows on the shared tasks and seeds under names that tell studies apart; the dense network of the first alone.

    Of a search with another seed what it cost stays, without its networks.
    """
    return [
        {**row, "method": f"{row['method']}@{study.place.label}"} | ({} if row["seed"] in seeds else {"variant": None})
        for row in study.rows
        if row["task"] in tasks
        and (row["seed"] in seeds or row["phase"] == "search")
        and (is_first or row["method"] not in study.terms.dense_labels)
    ]


def _notes(studies: Sequence[_Read], tasks: Sequence[str], seeds: Sequence[int]) -> list[str]:
    notes = []
    for study in studies:
        unused = sorted(set(study.terms.seeds) - set(seeds))
        if unused:
            notes.append(f"seeds {', '.join(map(str, unused))} of {study.place.label} are left out: not in all studies")
        alone = sorted(set(study.fingerprints) - set(tasks))
        if alone:
            notes.append(f"tasks {', '.join(alone)} of {study.place.label} are left out: not in all studies")
    # The data are the same by their fingerprint, however a file names them.
    fields = {task: [field for field in _differing(studies, task) if field != "data"] for task in tasks}
    notes += [
        f"task {task} is set up differently ({', '.join(differing)}): differences between methods may be differences "
        "between these"
        for task, differing in fields.items()
        if differing
    ]
    code = sorted(set().union(*(study.code for study in studies)))
    if len(code) > 1:
        notes.append(
            f"results come from {len(code)} versions of the code ({', '.join(code)}): differences between methods may "
            "be differences between these"
        )
    return notes
