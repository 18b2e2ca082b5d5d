"""What each method's figures cost: equal budgets are promised, so they are shown."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.comparison.model import Effort, Row


def effort_of(rows: Iterable[Row]) -> dict[str, Effort]:
    """Method -> trials and device time, from rows of one task.

    Args:
        rows: Of the results table. A run of several networks has several rows and counts once.
    """
    runs: dict[str, dict[tuple[str, int, int], Row]] = {}
    for row in rows:
        runs.setdefault(row["method"], {})[row["phase"], row["trial"], row["seed"]] = row
    return {method: _effort(list(own.values())) for method, own in runs.items()}


def _effort(runs: list[Row]) -> Effort:
    searched = [row for row in runs if row["phase"] == "search"]
    found = {row["run_key"] for row in searched}
    # The search's own run stands for its seed when a configuration is confirmed.
    confirmed = [row for row in runs if row["phase"] == "confirm" and row["run_key"] not in found]
    return Effort(
        trials=len(searched),
        stopped_early=sum(row["status"] == "stopped_early" for row in searched),
        failed=sum(row["status"] == "failed" for row in runs),
        search_seconds=sum(map(_seconds, searched)),
        confirm_seconds=sum(map(_seconds, confirmed)),
    )


def _seconds(row: Row) -> float:
    """Of a device: what the study paid, and for a result that was there already what training it took."""
    if row["cached"]:
        return float(row["fit_seconds"] or 0.0)
    return float(row["device_seconds"] or 0.0)
