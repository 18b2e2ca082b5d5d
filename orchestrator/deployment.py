"""Which configuration of a method one would deploy: it stands for the method where only one of them is shown."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.comparison import Configuration, TaskComparison, Terms


@dataclass(frozen=True)
class Deployed:
    """One configuration of one method."""

    configuration: Configuration
    why: str
    """Why this one, in words."""


def deployed(task: TaskComparison, terms: Terms) -> tuple[Deployed, ...]:
    """One configuration of each competitor that has a confirmed one.

    That is the smallest within tolerance of dense, else the most accurate on validation, the smaller of equals.
    """
    found = []
    for one in task.methods:
        if one.within_tolerance is not None:
            found.append(Deployed(one.within_tolerance, f"the smallest within {terms.tolerance:g} of dense"))
            continue
        own = [configuration for configuration in task.configurations if configuration.method == one.method]
        if own:
            best = max(own, key=lambda found: (found.validation.mean, -found.ratios[terms.measure].mean))
            found.append(Deployed(best, "the most accurate, as none is within tolerance of dense"))
    return tuple(found)
