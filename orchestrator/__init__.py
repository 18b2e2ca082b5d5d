"""Runs comparative studies of methods that make neural networks smaller or modular.

    from orchestrator.store import Store

    study = orchestrator.load_study("studies/quickstart.yaml")
    summary = orchestrator.run_study(study)
    table = orchestrator.compare(Store.open(study.store), study.name)

The names load on first use, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.comparison import compare as compare
    from orchestrator.morphing import morph as morph
    from orchestrator.spec.study_file import load_study as load_study
    from orchestrator.study_run import run_study as run_study

_PLACES = {
    "compare": "orchestrator.comparison",
    "load_study": "orchestrator.spec.study_file",
    "morph": "orchestrator.morphing",
    "run_study": "orchestrator.study_run",
}

__all__ = ["compare", "load_study", "morph", "run_study"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'orchestrator' has no attribute '{name}'")
    return getattr(import_module(_PLACES[name]), name)
