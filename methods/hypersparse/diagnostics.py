"""What a ramp looks like from inside, gathered once per regularised epoch, and the figures made of it.

The paper argues with these: the penalty pulls ever harder (c) at a threshold (tau) that sinks, small weights collapse
and large ones stay, and the set of weights to keep changes first (exploration) and then settles (exploitation).

Magnitudes are counted in bins of equal width in log10 over a fixed range, so that a histogram is a short list of
counts, takes one pass over the values, and fits into a checkpoint. Reading changes nothing in the training: gradients
are copied in one step per epoch, counted after the epoch, and no random number is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from methods.figures import Figure, Line, LineChart

LOWEST, HIGHEST = -12, 2
"""Powers of ten between which magnitudes are counted."""
BINS_PER_DECADE = 6
_NUM_BINS = (HIGHEST - LOWEST) * BINS_PER_DECADE
_X_EPOCH = "regularised epoch"


@dataclass(frozen=True)
class Histogram:
    """How many values have which magnitude."""

    counts: tuple[int, ...]
    """Per bin, from the smallest magnitudes to the largest."""
    total: int
    """Of all values: zeros and those outside the range included."""

    def densities(self) -> tuple[float, ...]:
        """Share of all values per decade of magnitude; over the range it integrates to the share inside it."""
        return tuple(count / max(self.total, 1) * BINS_PER_DECADE for count in self.counts)


def magnitude_histogram(values: Sequence[Tensor]) -> Histogram:
    """Count the magnitudes of all values together; exact zeros and values that are not finite are in `total` alone.

    Args:
        values: float32 tensors of any shapes on one device, left unchanged; waits for the device.
    """
    # Tensor by tensor: histc counts in float32, which is exact up to 16.8 million values, more than any one layer has.
    counts = [torch.histc(value.detach().abs().log10(), _NUM_BINS, LOWEST, HIGHEST) for value in values]
    found = torch.stack(counts).double().sum(0).long().tolist() if counts else [0] * _NUM_BINS
    return Histogram(tuple(found), sum(value.numel() for value in values))


def share_below(weights: Sequence[Tensor], bound: float) -> float:
    """Share of the weights whose magnitude is below `bound`."""
    below = torch.stack([(weight.detach().abs() < bound).sum() for weight in weights]).sum()
    return int(below) / sum(weight.numel() for weight in weights)


def mask_overlap(bits: Tensor, earlier: Tensor) -> float:
    """|A and B| / |A|: the share of the weights kept now (A) that were kept before (B), in [0, 1]; 1 if A is empty.

    Args:
        bits: uint8 on the CPU, eight weights a byte, as in `Snapshot.bits`.
        earlier: The same of the epoch before.
    """
    now, before = bits.numpy(), earlier.numpy()
    kept = int(np.bitwise_count(now).sum())
    return int(np.bitwise_count(now & before).sum()) / kept if kept else 1.0


class LastStepGradients:
    """Copies the gradients of the prunable weights in the last step of an epoch, before the penalty is added to them.

    Args:
        weights: The prunable weights.
        steps: Steps of one epoch.
    """

    def __init__(self, weights: Sequence[Tensor], *, steps: int) -> None:
        self._weights = weights
        self._left = steps
        self.values: list[Tensor] = []
        """Empty before the last step."""

    def see_step(self) -> None:
        """To be called in each step, when the gradients are there; does not wait for the device."""
        self._left -= 1
        if self._left == 0:
            self.values = [weight.grad.detach().clone() for weight in self._weights if weight.grad is not None]


@dataclass(frozen=True)
class RampEpoch:
    """One regularised epoch. Histograms are of its end, or of its last step for gradients."""

    alpha: float
    tau: float
    c: float
    """0 for L1 and L2, which have none."""
    dense_accuracy: float
    """As the stopping rule sees it; R2 for regression, like the next."""
    pruned_accuracy: float
    share_below_tau_tenth: float
    mask_overlap: float | None
    """With the epoch before; None in the first."""
    weights: Histogram
    task_gradients: Histogram
    penalty_gradients: Histogram
    """alpha times the penalty's gradient: what it adds to the task's."""


@dataclass
class RampRecord:
    """All regularised epochs of a run so far."""

    before: Histogram = Histogram((0,) * _NUM_BINS, 0)
    """Magnitudes of the weights as the ramp begins."""
    epochs: list[RampEpoch] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        """For a checkpoint: JSON values."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> RampRecord:
        """The inverse of `state`; numbers come back exactly as they were."""
        return cls(_histogram(state["before"]), [_epoch(values) for values in state["epochs"]])


def ramp_figures(record: RampRecord, *, metric: str) -> tuple[Figure, ...]:
    """What the ramp did, as charts.

    Args:
        record: With one epoch at least.
        metric: What the accuracies are, for the axis: "accuracy" or "R2".
    """
    stages = _stages(record)
    return (
        _strength(record),
        _below(record),
        _accuracies(record, metric),
        _by_epoch(
            "penalty_strength", "Strength of the penalty", "alpha", {"alpha": _values(record, "alpha")}, log=True
        ),
        _magnitudes(
            "weight_magnitudes",
            "Magnitudes of the prunable weights before the ramp, in its middle and at its end",
            "magnitude of a weight",
            {"before the ramp": record.before} | {name: epoch.weights for name, epoch in stages[-2:]},
        ),
        _magnitudes(
            "penalty_gradients",
            "What the penalty adds to the gradients: alpha times its own",
            "magnitude of alpha times the penalty's gradient",
            {name: epoch.penalty_gradients for name, epoch in stages},
            # Nearly all weights are pulled alike; the few that are spared show on a logarithmic scale alone.
            log_y=True,
        ),
        _magnitudes(
            "task_gradients",
            "Gradients of the task in the last step of an epoch, prunable weights",
            "magnitude of the task's gradient",
            {name: epoch.task_gradients for name, epoch in stages},
        ),
        _by_epoch(
            "mask_overlap",
            "Do the weights to keep still change (exploration) or are they settled (exploitation)?",
            "share kept after the epoch before, too",
            {"overlap of successive masks": _values(record, "mask_overlap")},
        ),
    )


def _strength(record: RampRecord) -> LineChart:
    lines = {"c: pull on the smallest weights": _values(record, "c"), "tau: threshold": _values(record, "tau")}
    if not any(epoch.c for epoch in record.epochs):
        del lines["c: pull on the smallest weights"]
    title = "Pull on the smallest weights relative to L1 (c), and the pruning threshold (tau)"
    return _by_epoch("threshold_and_pull", title, "c, tau", lines, log=True)


def _below(record: RampRecord) -> LineChart:
    return _by_epoch(
        "share_below_tau_tenth",
        "Weights far below the pruning threshold: magnitude below tau / 10",
        "share of prunable weights",
        {"below tau / 10": _values(record, "share_below_tau_tenth")},
    )


def _accuracies(record: RampRecord, metric: str) -> LineChart:
    lines = {"dense": _values(record, "dense_accuracy"), "pruned": _values(record, "pruned_accuracy")}
    title = "Dense and hard pruned on training samples: the ramp is to end when pruning no longer hurts"
    return _by_epoch("pruned_against_dense", title, f"training {metric}", lines)


def _values(record: RampRecord, name: str) -> list[float | None]:
    return [getattr(epoch, name) for epoch in record.epochs]


def _by_epoch(
    name: str, title: str, y_label: str, lines: Mapping[str, Sequence[float | None]], *, log: bool = False
) -> LineChart:
    """Epochs count from 1, as in the paper's logs."""
    return LineChart(
        name=name,
        title=title,
        x_label=_X_EPOCH,
        y_label=y_label,
        lines=tuple(
            Line(label=label, x=tuple(float(number) for number in range(1, len(values) + 1)), y=tuple(values))
            for label, values in lines.items()
        ),
        log_y=log,
    )


def _stages(record: RampRecord) -> list[tuple[str, RampEpoch]]:
    """The first, the middle and the last epoch with their names, as far as they differ."""
    last = len(record.epochs)
    return [(f"epoch {number}", record.epochs[number - 1]) for number in sorted({1, (last + 1) // 2, last})]


def _magnitudes(
    name: str, title: str, x_label: str, histograms: Mapping[str, Histogram], *, log_y: bool = False
) -> LineChart:
    """Histograms as steps, over the bins that any of them uses."""
    used = [index for one in histograms.values() for index, count in enumerate(one.counts) if count]
    first, last = min(used, default=0), max(used, default=_NUM_BINS - 1)
    # A bin on either side, empty as a rule, closes the steps; the last place only ends the last bin.
    first, last = max(first - 1, 0), min(last + 1, _NUM_BINS - 1)
    edges = tuple(10 ** (LOWEST + index / BINS_PER_DECADE) for index in range(first, last + 2))
    return LineChart(
        name=name,
        title=title,
        x_label=x_label,
        y_label="density: share per decade",
        lines=tuple(
            Line(label=label, x=edges, y=(*one.densities()[first : last + 1], 0.0)) for label, one in histograms.items()
        ),
        log_x=True,
        log_y=log_y,
        steps=True,
    )


def _histogram(state: Mapping[str, Any]) -> Histogram:
    return Histogram(tuple(state["counts"]), state["total"])


def _epoch(state: Mapping[str, Any]) -> RampEpoch:
    histograms = {name: _histogram(state[name]) for name in ("weights", "task_gradients", "penalty_gradients")}
    return RampEpoch(**{**state, **histograms})
