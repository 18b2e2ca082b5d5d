"""How much each hidden unit responds to the data, and which units are worth keeping; pure functions of activations.

Source: Balderas, Lastra, Benitez, "Optimizing Dense Feed-Forward Neural Networks", Neural Networks 2024,
arXiv 2312.10560. Its text was not at hand: that importance is the "variability" of a unit's output over the data,
judged layer by layer against a tolerance epsilon, is from summaries. Which statistic that is, the strict comparison,
the unit that always stays, `outgoing` and `relative` are [design], ours.

Shapes: N = rows (samples), U = units of one layer, O = units of the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Statistic = Literal["std", "range"]

LEAST_EPSILON = 1e-12
"""Constant outputs get a deviation of about 1e-16 by rounding, so a smaller tolerance means this one."""


class StreamingMoments:
    """Mean, population standard deviation and extremes of every unit over rows that arrive in batches.

    Batches are merged pairwise in float64 (Chan, Golub, LeVeque 1983), so memory and accuracy depend on the number of
    units alone: E[x^2] - E[x]^2 would cancel.
    """

    def __init__(self) -> None:
        self.count = 0
        """Rows seen."""
        self._mean = self._squares = self._low = self._high = torch.empty(0, dtype=torch.float64)

    def update(self, batch: Tensor) -> None:
        """Take in rows (N, U) of any floating type.

        Raises:
            ValueError: Not (N, U), or another number of units than before.
        """
        if batch.dim() != 2 or (self.count and batch.shape[1] != len(self._mean)):
            known = f", {len(self._mean)} units so far" if self.count else ""
            raise ValueError(f"moments: a batch of shape {tuple(batch.shape)}{known}; give (rows, units).")
        if len(batch) == 0:
            return
        low_U, high_U = batch.detach().aminmax(dim=0)
        rows_NU = batch.detach().to(torch.float64, copy=True)
        mean_U = rows_NU.mean(dim=0)
        squares_U = rows_NU.sub_(mean_U).square_().sum(dim=0)
        self._join(len(batch), mean_U, squares_U, low_U.double(), high_U.double())

    def merge(self, other: StreamingMoments) -> None:
        """Take in all that `other` has seen; it is left alone.

        Raises:
            ValueError: It saw another number of units.
        """
        if self.count and other.count and len(self._mean) != len(other._mean):
            raise ValueError(f"moments of {len(self._mean)} units cannot be merged with {len(other._mean)}.")
        if other.count:
            self._join(other.count, other._mean, other._squares, other._low, other._high)

    @property
    def mean(self) -> Tensor:
        """(U,) float64."""
        return self._mean

    @property
    def std(self) -> Tensor:
        """(U,) float64, divided by the number of rows and not by one less: tiny sets would differ by a factor."""
        return (self._squares / max(self.count, 1)).sqrt()

    @property
    def low(self) -> Tensor:
        """(U,) float64, smallest value."""
        return self._low

    @property
    def range(self) -> Tensor:
        """(U,) float64, largest less smallest value."""
        return self._high - self._low

    def _join(self, count: int, mean_U: Tensor, squares_U: Tensor, low_U: Tensor, high_U: Tensor) -> None:
        if self.count == 0:
            self.count, self._mean, self._squares = count, mean_U, squares_U
            self._low, self._high = low_U, high_U
            return
        total = self.count + count
        step_U = mean_U - self._mean
        self._squares = self._squares + squares_U + step_U.square() * (self.count * count / total)
        self._mean = self._mean + step_U * (count / total)
        self._low, self._high = torch.minimum(self._low, low_U), torch.maximum(self._high, high_U)
        self.count = total


def balanced_mean_and_std(by_class: Sequence[StreamingMoments]) -> tuple[Tensor, Tensor]:
    """Mean and deviation as if every class had equally many rows: balanced resampling in closed form. [design]

    With few rows of a class, units that respond to it alone have little variability over all rows.

    Args:
        by_class: Moments of the rows of each class; classes without rows are passed over.

    Returns:
        Two (U,) float64 tensors.
    """
    present = [moments for moments in by_class if moments.count]
    mean_U = torch.stack([moments.mean for moments in present]).mean(dim=0)
    variances = [moments.std.square() + (moments.mean - mean_U).square() for moments in present]
    return mean_U, torch.stack(variances).mean(dim=0).sqrt()


def unit_usefulness(
    hidden: Tensor, *, statistic: Statistic = "std", outgoing: Tensor | None = None, relative: bool = False
) -> Tensor:
    """Usefulness of every unit of one layer.

    Args:
        hidden: (N, U) outputs of the layer after its activation, all rows of the training data.
        statistic: `std`, the population standard deviation, or `range`, largest less smallest.
        outgoing: (O, U) weights of the next layer: multiplies by the 2-norm of each unit's outgoing column. With ReLU
            the product stays the same when a layer is scaled up and the next one down, which the statistic does not.
        relative: Divide by the layer's largest, so that one epsilon in (0, 1) fits all layers.

    Returns:
        (U,) float64, at least 0.

    Raises:
        ValueError: Shapes do not fit, there are no rows, or a value is not finite.
    """
    moments = StreamingMoments()
    moments.update(hidden)
    if moments.count == 0:
        raise ValueError("usefulness: no rows to judge units by; give the activations of at least one sample.")
    return scaled_usefulness(moments.std if statistic == "std" else moments.range, outgoing, relative=relative)


def scaled_usefulness(variability: Tensor, outgoing: Tensor | None, *, relative: bool) -> Tensor:
    """`unit_usefulness` from a variability (U,) that was gathered already.

    Raises:
        ValueError: As `unit_usefulness`.
    """
    if not bool(torch.isfinite(variability).all()):
        unit = int((~torch.isfinite(variability)).nonzero()[0])
        raise ValueError(f"usefulness: the outputs of unit {unit} are not finite numbers; did training diverge?")
    usefulness_U = variability.double()
    if outgoing is not None:
        if outgoing.dim() != 2 or outgoing.shape[1] != len(usefulness_U):
            raise ValueError(
                f"usefulness: outgoing weights of shape {tuple(outgoing.shape)} for {len(usefulness_U)} units; give "
                "the next layer's weight (outputs, units)."
            )
        usefulness_U = usefulness_U * outgoing.detach().double().norm(dim=0)
    # A layer of constants has no largest; all its units are equally useless then.
    return usefulness_U / usefulness_U.max().clamp(min=torch.finfo(torch.float64).tiny) if relative else usefulness_U


def ranks(usefulness: Tensor) -> Tensor:
    """The place of each unit in its layer: the share of the layer's units that are at most as useful. [design]

    An epsilon then drops that share of every layer, which no single outlier can change.

    Args:
        usefulness: (U,).

    Returns:
        (U,) float64 in (0, 1]: the most useful unit has 1, of equally useful ones the first counts as more useful.
        Units of no usefulness at all have 0, so that epsilon 0 still means constant units.
    """
    rank_U = torch.empty(len(usefulness), dtype=torch.float64)
    order_U = torch.argsort(usefulness.cpu(), descending=True, stable=True)
    rank_U[order_U] = torch.arange(len(usefulness), 0, -1, dtype=torch.float64) / len(usefulness)
    return torch.where(usefulness.cpu() > LEAST_EPSILON, rank_U, 0.0)


def keep_units(usefulness: Sequence[Tensor], *, epsilon: float) -> list[Tensor]:
    """The units whose usefulness exceeds the tolerance, strictly; of a layer without any the most useful one.

    Args:
        usefulness: One (U,) tensor per hidden layer.
        epsilon: At least 0; below 1e-12 it counts as that, see `LEAST_EPSILON`.

    Returns:
        One bool tensor (U,) per hidden layer, true where the unit stays. Of equally useful ones the first stays.

    Raises:
        ValueError: `epsilon` is negative or no number.
    """
    if not epsilon >= 0 or math.isinf(epsilon):
        raise ValueError(f"epsilon {epsilon}: give a tolerance of at least 0, below which units are dropped.")
    threshold = max(epsilon, LEAST_EPSILON)
    kept = []
    for usefulness_U in usefulness:
        keep_U = usefulness_U > threshold
        if not bool(keep_U.any()):
            keep_U[int((usefulness_U == usefulness_U.max()).nonzero()[0])] = True
        kept.append(keep_U)
    return kept


def emptied(usefulness: Sequence[Tensor], *, epsilon: float) -> list[tuple[int, int]]:
    """(Layer, unit) of every unit that stays only because its layer would be empty otherwise."""
    kept = keep_units(usefulness, epsilon=epsilon)
    return [
        (layer, int(keep_U.nonzero()[0]))
        for layer, (usefulness_U, keep_U) in enumerate(zip(usefulness, kept, strict=True))
        if float(usefulness_U.max()) <= max(epsilon, LEAST_EPSILON)
    ]
