"""A network of a finished run as a file of its own, with a description beside it."""

from orchestrator.export.write import Export, export_network

__all__ = ["Export", "export_network"]
