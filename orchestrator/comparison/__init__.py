"""What a study says: `compare` reads it from a store, `compare_tasks` from rows of the results table."""

from orchestrator.comparison.across import Across, StudyPlace, compare_across
from orchestrator.comparison.model import (
    Comparison,
    Configuration,
    Effort,
    MethodSummary,
    Row,
    SizeRange,
    Split,
    TaskComparison,
    Terms,
    Trial,
    Verdict,
)
from orchestrator.comparison.stored import compare, read_results, terms_of
from orchestrator.comparison.tasks import compare_tasks
from orchestrator.comparison.verdicts import MINIMUM_EFFECT, SIGNIFICANCE

__all__ = [
    "MINIMUM_EFFECT",
    "SIGNIFICANCE",
    "Across",
    "Comparison",
    "Configuration",
    "Effort",
    "MethodSummary",
    "Row",
    "SizeRange",
    "Split",
    "StudyPlace",
    "TaskComparison",
    "Terms",
    "Trial",
    "Verdict",
    "compare",
    "compare_across",
    "compare_tasks",
    "read_results",
    "terms_of",
]
