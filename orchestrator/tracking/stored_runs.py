"""A study as the store has it, one `TrackedRun` for each record. Knows the store; knows nothing of MLflow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from orchestrator.errors import StudyInvalid, UnknownRecord
from orchestrator.module_results import COMPOSED_ROW
from orchestrator.report.marks import colours_of
from orchestrator.results import headline
from orchestrator.runs import GradedVariant, Record, RunResult
from orchestrator.spec import ReportSettings, Study
from orchestrator.status import stored_study
from orchestrator.store import Store
from orchestrator.subtask_table import TEST_KEY
from orchestrator.tracking.tracked_run import TrackedRun


class StoredRuns:
    """What is to be shown of one study; reads it from the store and remembers what headlines are measured against."""

    def __init__(self, store: Store, study: str) -> None:
        self._store = store
        self._folder = store.study(study)
        found = _stored_study(store, study)
        self.question = found.question if found else ""
        records = [] if found else self._folder.records()
        self.scores = dict.fromkeys(found.tasks if found else (one.task_name for one in records), "val_accuracy")
        """Task -> the metric that says how good a network is there: `val_r2` once a regression was shaped."""
        methods = {one.label: one.method for one in found.methods} if found else _methods_of(records)
        dense = {label for label, method in methods.items() if method == "dense"}
        self._colours = colours_of(methods, dense=dense)
        self.first_seed = found.seeds[0] if found else None
        """None when the study's file cannot be read here."""
        self._settings = found.report if found else ReportSettings()
        self._results: dict[str, RunResult] = {}
        """Key -> result, which never changes: a store far away is asked for each once."""
        self._dense_scores: dict[tuple[str, int], float] = {}
        self._test_rows: Mapping[str, Mapping[str, float]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read what headlines are measured against, and what the test said."""
        for record in self._folder.records():
            if record.run.method == "dense" and record.status == "finished":
                self._note_dense(record, self._result(record.run.key))
        self._test_rows = (self._folder.read_test() or {}).get("rows", {})

    def shape(self, record: Record, result: RunResult | None) -> TrackedRun:
        """What MLflow is to show of a record; None as `result` of a finished one: read it from the store."""
        key = record.run.key
        if result is None and record.status == "finished":
            result = self._result(key)
        elif result is not None:
            self._results[key] = result
        self._note_dense(record, result)
        best = None
        if result is not None:
            own_best = max(variant.score for variant in result.variants)
            best = headline(
                result.variants,
                dense_score=self._dense_scores.get((record.task_name, record.seed), own_best),
                tolerance=self._settings.tolerance,
                measure=self._settings.measure,
            )
            self.scores[record.task_name] = "val_accuracy" if "accuracy" in best.validation else "val_r2"
        failures = self._store.failures(key) if record.status == "failed" else []
        return TrackedRun(
            record=record,
            result=result,
            headline=best,
            measure=self._settings.measure,
            test=self._tested(key, best) if best else {},
            curves=lambda: self._store.read_curves(key),
            failed_at=failures[-1].at if failures else None,
            colour=self._colours.get(record.method),
        )

    def _result(self, key: str) -> RunResult | None:
        known = self._results.get(key)
        if known is None and (known := self._store.read_outcome(key)) is not None:
            self._results[key] = known
        return known

    def _tested(self, key: str, best: GradedVariant) -> dict[str, float]:
        """What the test said of a run's headline, and of its compositions in one figure."""
        composed = self._test_rows.get(f"{key}/{COMPOSED_ROW}", {})
        by_size = [value for name, value in composed.items() if name.startswith(TEST_KEY)]
        reuse = {"reuse_accuracy": sum(by_size) / len(by_size)} if by_size else {}
        return {**self._test_rows.get(f"{key}/{best.label}", {}), **reuse}

    def _note_dense(self, record: Record, result: RunResult | None) -> None:
        if record.run.method == "dense" and result is not None:
            place = record.task_name, record.seed
            scores = [variant.score for variant in result.variants]
            self._dense_scores[place] = max([*scores, self._dense_scores.get(place, -math.inf)])


def _methods_of(records: Iterable[Record]) -> dict[str, str]:
    return {record.method: record.run.method for record in records}


def _stored_study(store: Store, study: str) -> Study | None:
    try:
        return stored_study(store, study)
    except (StudyInvalid, UnknownRecord):
        # Its data folder may be on another machine; the runs are shown all the same.
        return None
