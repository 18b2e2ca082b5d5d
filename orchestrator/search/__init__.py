"""The search of a study: asks Optuna for configurations, tells it how they did, stops hopeless runs early."""

from orchestrator.search.cell_search import CellSearch
from orchestrator.search.optuna_parts import SearchStorage, open_storage
from orchestrator.search.rungs import ParetoRungs
from orchestrator.search.trials import Proposal

__all__ = ["CellSearch", "ParetoRungs", "Proposal", "SearchStorage", "open_storage"]
