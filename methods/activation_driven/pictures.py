"""What a run shows of its modules: which units fire for which class, what classes share, what the threshold decides.

Shapes: K = classes, U = units of a site.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from methods.figures import Figure, Heatmap, Line, LineChart
from methods.networks.sites import Site

MOST_MAPS = 32
"""Sites whose map is drawn, spread evenly from the first to the last."""


def activation_maps(
    rates: Sequence[Tensor], sites: Sequence[Site], *, class_names: Sequence[str]
) -> tuple[Heatmap, ...]:
    """One class-by-unit map per site, at most `MOST_MAPS` of them.

    Units are ordered by the class that fires them most, the surest first, so that units with a class of their own
    show as blocks along the diagonal.

    Args:
        rates: (K, U) per site.
        sites: Of the network, in the same order.
        class_names: Of the rows.
    """
    count = min(MOST_MAPS, len(sites))
    shown = [round(step * (len(sites) - 1) / max(1, count - 1)) for step in range(count)]
    return tuple(_activation_map(rates[index], sites[index], class_names) for index in shown)


def _activation_map(rate_KU: Tensor, site: Site, class_names: Sequence[str]) -> Heatmap:
    best_U, owner_U = rate_KU.max(dim=0)
    # Owners ascend; within an owner its rate falls.
    order = torch.argsort(owner_U.double() - best_U.double() / 2, stable=True).tolist()
    return Heatmap(
        name=f"rates_{site.name}".lower(),
        title=f"Share of samples that fire each unit of {site.name}",
        x_label="units, each by the class that fires it most",
        y_label="class",
        rows=tuple(class_names),
        columns=tuple(class_names[owner] for owner in owner_U[order].tolist()),
        values=tuple(tuple(round(value, 4) for value in row) for row in rate_KU[:, order].tolist()),
    )


def overlap_map(overlap_KK: Tensor, *, class_names: Sequence[str]) -> Heatmap:
    """What each pair of modules shares; on the diagonal the size of each module."""
    return Heatmap(
        name="module_overlap",
        title="Parameters two class modules share (diagonal: module size), of the whole network's",
        x_label="class",
        y_label="class",
        rows=tuple(class_names),
        columns=tuple(class_names),
        values=tuple(tuple(round(value, 5) for value in row) for row in overlap_KK.tolist()),
    )


def threshold_chart(sizes: Mapping[float, tuple[float, float]]) -> LineChart:
    """What other thresholds would have made of the same training.

    Args:
        sizes: Threshold -> share of the network's parameters in a class module (mean) and in the union of all modules.
    """
    places = tuple(sorted(sizes))
    return LineChart(
        name="size_by_threshold",
        title="Size of modules by the threshold that a unit's firing rate must reach",
        x_label="threshold",
        y_label="share of the network's parameters",
        lines=(
            Line(label="class module, mean", x=places, y=tuple(sizes[place][0] for place in places)),
            Line(label="union of all modules", x=places, y=tuple(sizes[place][1] for place in places)),
        ),
    )


def figures(
    rates: Sequence[Tensor],
    overlap_KK: Tensor,
    sizes: Mapping[float, tuple[float, float]],
    *,
    sites: Sequence[Site],
    class_names: Sequence[str],
) -> tuple[Figure, ...]:
    """All figures of a run, the summaries first."""
    return (
        threshold_chart(sizes),
        overlap_map(overlap_KK, class_names=class_names),
        *activation_maps(rates, sites, class_names=class_names),
    )
