"""A study as typed data, and how it is read from YAML with all its faults at once. Imports no torch."""

from orchestrator.spec.reuse import NewTaskScenario, PatchScenario, ReuseSettings
from orchestrator.spec.study import (
    Budget,
    Cell,
    EarlyStopping,
    MethodEntry,
    ReportSettings,
    Resources,
    SearchSettings,
    Study,
    StudySettings,
)
from orchestrator.spec.study_file import load_study, parse_study

__all__ = [
    "Budget",
    "Cell",
    "EarlyStopping",
    "MethodEntry",
    "NewTaskScenario",
    "PatchScenario",
    "ReportSettings",
    "Resources",
    "ReuseSettings",
    "SearchSettings",
    "Study",
    "StudySettings",
    "load_study",
    "parse_study",
]
