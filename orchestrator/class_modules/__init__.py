"""The class modules of finished runs: which there are, what they are worth, and networks composed of them."""

from orchestrator.class_modules.across import CompositionAcross, export_across
from orchestrator.class_modules.composing import Composition, export_all, export_composition
from orchestrator.class_modules.listing import LibraryLine, libraries
from orchestrator.library_results import modules_of

__all__ = [
    "Composition",
    "CompositionAcross",
    "LibraryLine",
    "export_across",
    "export_all",
    "export_composition",
    "libraries",
    "modules_of",
]
