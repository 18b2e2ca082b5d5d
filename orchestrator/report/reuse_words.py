"""What reuse gained, in words and lines of a terminal."""

from __future__ import annotations

import orchestrator.report.words as words
from orchestrator.reuse.summary import MEASURES, Reuse
from orchestrator.statistics import Estimate

NAMES = {"precision": "precision", "recall": "recall", "f1": "F1", "others": "other classes"}


def gain(found: Estimate) -> tuple[str, str]:
    """Mean and interval in points: `+11.5`, `[+2.1, +20.9]`; no interval for one seed."""
    interval = "" if found.low is None or found.high is None else f"[{_points(found.low)}, {_points(found.high)}]"
    return _points(found.mean), interval


def times(ratio: float) -> str:
    """`1.4x`."""
    return f"{ratio:.1f}x"


def reuse_lines(found: Reuse) -> list[str]:
    """A sentence for each way of patching, over all weak networks, and for each new task."""
    lines = []
    for strong, way in dict.fromkeys((one.strong, one.way) for one in found.patches):
        own = [one for one in found.patches if (one.strong, one.way) == (strong, way)]
        mean = {name: sum(one.gain[name].mean for one in own) / len(own) for name in MEASURES}
        parts = ", ".join(f"{NAMES[name]} {_points(mean[name])}" for name in MEASURES)
        networks = "one weak network" if len(own) == 1 else f"{len(own)} weak networks"
        line = f"Patches with modules of {strong} ({way}), mean over {networks}, in points: {parts}"
        controlled = [one.over_control for one in own if one.over_control is not None]
        if controlled:
            over = {name: sum(one[name].mean for one in controlled) / len(controlled) for name in ("f1", "others")}
            line += f"; over the control F1 {_points(over['f1'])}, other classes {_points(over['others'])}"
        lines.append(f"{line}.")
    for task in found.new_tasks:
        mean_, interval = gain(task.difference)
        lines.append(
            f"New task {task.task} of modules of {task.strong}: {words.score_and_spread(task.accuracy)} without "
            f"training, {words.score_and_spread(task.scratch)} trained from scratch; {mean_} points {interval}".rstrip()
            + "."
        )
    return [*lines, *(f"Left out: {one}." for one in found.left_out)]


def _points(share: float) -> str:
    return words.signed(100 * share, digits=1)
