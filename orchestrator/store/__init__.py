"""Where all results lie: runs by content key, studies by name."""

from orchestrator.store.store import Store, VariantFiles
from orchestrator.store.study_folder import StudyFolder
from orchestrator.store.study_lock import StudyLock

__all__ = ["Store", "StudyFolder", "StudyLock", "VariantFiles"]
