"""What a reader of a run sees of its units: how useful each was, and what every tolerance would have cost."""

from __future__ import annotations

from methods.contract import TaskInfo
from methods.figures import Figure, Line, LineChart
from methods.json_value import Json
from methods.odf2nna.refining import Refinement


def facts(found: Refinement) -> dict[str, Json]:
    """Layer by layer: width before and after, and the usefulness of every unit, to six digits."""
    layers = [
        {
            "site": site,
            "width": len(usefulness_U),
            "kept": [cut.widths[layer] for cut in found.chosen],
            "usefulness": [float(f"{value:.6g}") for value in usefulness_U.tolist()],
        }
        for layer, (site, usefulness_U) in enumerate(zip(found.head.sites, found.usefulness, strict=True))
    ]
    return {
        "layers": layers,
        "screened": [cut.to_json() for cut in found.screened],
        "original_parameters": found.total_parameters,
        "original_score": found.original_score,
    }


def figures(found: Refinement, info: TaskInfo) -> tuple[Figure, ...]:
    """Usefulness by layer, and score against size before retraining."""
    lines = []
    for site, usefulness_U in zip(found.head.sites, found.usefulness, strict=True):
        falling = sorted(usefulness_U.tolist(), reverse=True)
        places = tuple((number + 1) / len(falling) for number in range(len(falling)))
        lines.append(Line(label=site, x=places, y=tuple(falling)))
    return (
        LineChart(
            name="usefulness",
            title="Usefulness of hidden units, most useful first",
            x_label="share of the layer's units",
            y_label="usefulness",
            lines=tuple(lines),
        ),
        LineChart(
            name="tolerance",
            title="What each tolerance costs before retraining",
            x_label="share of the parameters kept",
            y_label="validation accuracy" if info.kind == "classification" else "validation R²",
            lines=(
                Line(
                    label="cut, not retrained",
                    x=(*(cut.parameters / found.total_parameters for cut in found.screened), 1.0),
                    y=(*(cut.score for cut in found.screened), found.original_score),
                ),
            ),
            log_x=True,
        ),
    )
