"""The report of a study: one static HTML page, one PNG, a few lines for the terminal."""

from orchestrator.report.terminal import summary_lines
from orchestrator.report.write import write_report

__all__ = ["summary_lines", "write_report"]
