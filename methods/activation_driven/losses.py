"""The three losses of activation-driven modular training (MODA), in closed form.

Source: Ngo, Hassan, Shafiq, Medvidovic, "DNN Modularization via Activation-Driven Training", ICSE 2026,
doi 10.1145/3744916.3773190, and the losses of its public code. With n the pooled activations of a sample in a layer,
scaled to length 1, and means over all pairs of a batch and all layers:

    affinity     1 - mean of n_i . n_j over the pairs of one class
    dispersion   mean of n_i . n_j over the pairs of two classes
    compactness  mean of the pooled activations' magnitudes, every layer counting alike

A product summed over pairs follows from sums of vectors: with s_c the sum of n over class c and t over the batch,

    pairs of one class     (sum_c |s_c|^2 - sum_i |n_i|^2) / 2
    pairs of two classes   (|t|^2 - sum_c |s_c|^2) / 2

so that no list of pairs is needed, and all layers, side by side in one matrix, cost as many operations as one.

Shapes: B = samples, C = classes, H, W = height and width, L = layers, U = units of all layers together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

EPSILON = 1e-12
"""Shorter vectors are divided by this instead of by their length, so one of zeros stays zero: similar to no other."""

_BLOCK = 262_144
"""Values of a half-precision map that a CPU widens at once, 1 MB that stays in its cache: a tenth of the time that the
whole map takes at 128 x 64 x 32 x 32. 128k to 512k measure alike."""


class ActivationLosses(NamedTuple):
    """Scalars with gradient; for ReLU outputs the first two lie in [0, 1] up to rounding, compactness at 0 or above."""

    affinity: Tensor
    """0 also for a batch without two samples of one class, where the published code divides by zero."""
    dispersion: Tensor
    """0 also for a batch without two samples of different classes, for the same reason."""
    compactness: Tensor


def activation_losses(
    activations: Sequence[Tensor], labels: Tensor, *, signed: bool = True, num_classes: int | None = None
) -> ActivationLosses:
    """The losses of one batch from the outputs of its layers.

    Args:
        activations: One per layer, (B, C, H, W) or (B, D), of any floating type; reduced in float32 or wider.
        labels: Class of each sample, (B,).
        signed, num_classes: As in `pool` and `pooled_losses`.

    Raises:
        ValueError: No activations, activations of another shape or type, or labels that do not fit them.
    """
    if not activations:
        raise ValueError("activation_losses: no activations; pass the output of at least one ReLU.")
    for index, activation in enumerate(activations):
        if len(activation) != len(labels):
            raise ValueError(
                f"activation_losses: activations[{index}] holds {len(activation)} samples, but there are "
                f"{len(labels)} labels; pass activations and labels of one batch."
            )
    pooled = [pool(activation, signed=signed) for activation in activations]
    widths = [vector_BU.shape[1] for vector_BU in pooled]
    return pooled_losses(torch.cat(pooled, dim=1), labels, widths=widths, num_classes=num_classes)


def pool(activation: Tensor, *, signed: bool = True) -> Tensor:
    """One value per sample and unit: the spatial mean of a channel's magnitude, or a neuron's value as it is.

    Args:
        activation: (B, C, H, W) or (B, D), of any floating type.
        signed: False leaves out taking magnitudes, a pass over every map in either direction. After a ReLU it changes
            neither value nor gradient, since ReLU passes nothing back where it puts out 0.

    Returns:
        (B, C) or (B, D), float32, or float64 for such an activation.

    Raises:
        ValueError: Another shape or type.
    """
    if activation.dim() not in (2, 4) or not activation.is_floating_point():
        raise ValueError(
            f"pool: an activation is {activation.dtype} of shape {tuple(activation.shape)}; pass floating-point "
            "outputs of a convolutional layer (B, C, H, W) or of a linear one (B, D)."
        )
    if activation.dim() == 2:
        return _widened(activation)
    pooled: Tensor = _SpatialMean.apply(activation.abs() if signed else activation)  # type: ignore[no-untyped-call]
    return pooled


def pooled_losses(
    pooled_BU: Tensor, labels_B: Tensor, *, widths: Sequence[int], num_classes: int | None = None
) -> ActivationLosses:
    """The losses of one batch from its pooled activations. Nothing makes the host wait for the device.

    Pairs exist within the batch that is given alone, also where a batch is spread over devices.

    Args:
        pooled_BU: What `pool` made of the layers, side by side.
        labels_B: Class of each sample, integers.
        widths: Units of each layer, in order.
        num_classes: Saves arithmetic where it is below B. All labels must then lie in [0, num_classes), which is not
            checked: that would make the host wait.

    Raises:
        ValueError: Shapes that do not fit each other, or labels that are no class indices, such as those of mixup.
    """
    _check(pooled_BU, labels_B, widths)
    num_samples, num_layers = len(labels_B), len(widths)
    with torch.autocast(pooled_BU.device.type, enabled=False):
        wide_BU = _widened(pooled_BU)
        layer_UL, share_U = _layers(tuple(widths), wide_BU.device, wide_BU.dtype)
        square_BL = wide_BU.square() @ layer_UL
        scale_BL = square_BL.clamp(min=EPSILON**2).rsqrt()
        unit_BU = wide_BU * (scale_BL @ layer_UL.T)
        member_CB = _class_members(labels_B, num_classes)
        sum_CU = member_CB.to(unit_BU.dtype) @ unit_BU
        within = sum_CU.square().sum()
        # Twice the sums over pairs, and twice the numbers of pairs, which are exact in integers.
        same = within - (square_BL * scale_BL.square()).sum()
        different = sum_CU.sum(dim=0).square().sum() - within
        ordered_within = member_CB.sum(dim=1).square().sum()
        num_same, num_different = ordered_within - num_samples, num_samples**2 - ordered_within
        affinity = 1 - same / (num_layers * num_same.clamp(min=1))
        dispersion = different / (num_layers * num_different.clamp(min=1))
        return ActivationLosses(
            affinity=torch.where(num_same > 0, affinity, 0.0),
            dispersion=torch.where(num_different > 0, dispersion, 0.0),
            compactness=(wide_BU.abs() @ share_U).mean(),
        )


def require_relu(activations: Sequence[Tensor]) -> None:
    """Refuse activations that no ReLU put out. Waits for the device: to be called once, not in every step.

    Args:
        activations: As in `activation_losses`; NaN passes, as it is what a ReLU makes of NaN.

    Raises:
        ValueError: One of them holds a value below 0.
    """
    if not activations:
        return
    least = torch.stack([activation.detach().float().amin() for activation in activations]).tolist()
    for index, value in enumerate(least):
        if value < 0:
            raise ValueError(
                f"require_relu: activations[{index}] holds values below 0, the least is {value:.4g}, so it is no "
                "output of a ReLU, which modular training is defined on; record the ReLU's output instead, or use a "
                "network whose nonlinearities are ReLUs."
            )


class _SpatialMean(torch.autograd.Function):
    """The mean over H and W, in float32 or wider.

    PyTorch's own backward writes a map of gradients that are equal within a channel. This one hands on a view of one
    row, which autograd adds to the gradient that is there already: one pass over memory instead of several. Doing the
    ReLU in the same function, block by block in both directions, made whole training steps slower.
    """

    @staticmethod
    def forward(ctx: Any, map_BCHW: Tensor) -> Tensor:
        ctx.shape, ctx.dtype = map_BCHW.shape, map_BCHW.dtype
        ctx.channels_last = map_BCHW.is_contiguous(memory_format=torch.channels_last)
        if map_BCHW.device.type != "cpu" or _is_wide(map_BCHW):
            return map_BCHW.mean(dim=(2, 3), dtype=_widened_dtype(map_BCHW))
        # A CPU widens the whole map before it adds; in blocks of samples the wide values never leave the cache.
        num_samples = max(1, _BLOCK // max(1, map_BCHW[0].numel())) if len(map_BCHW) else 1
        return torch.cat([block.float().mean(dim=(2, 3)) for block in torch.split(map_BCHW, num_samples)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient_BC,) = gradients
        shape: torch.Size = ctx.shape
        num_samples, channels, height, width = shape
        each_BC11: Tensor = (gradient_BC / (height * width)).to(ctx.dtype)[:, :, None, None]
        if not ctx.channels_last:
            return each_BC11.expand(shape)
        # Written out along one row: adding runs over the innermost axis, and 16 channels are too few for a vector loop.
        row_BWC = each_BC11.permute(0, 2, 3, 1).expand(num_samples, 1, width, channels).contiguous()
        return row_BWC.permute(0, 3, 1, 2).expand(shape)


def _check(pooled_BU: Tensor, labels_B: Tensor, widths: Sequence[int]) -> None:
    if labels_B.dim() != 1 or labels_B.is_floating_point() or labels_B.is_complex():
        raise ValueError(
            f"activation losses: the labels are {labels_B.dtype} of shape {tuple(labels_B.shape)}; pairs of one class "
            "are defined for class indices alone, integers of shape (B,): train without mixup, cutmix or soft labels."
        )
    if not widths or pooled_BU.dim() != 2 or pooled_BU.shape[1] != sum(widths):
        raise ValueError(
            f"activation losses: pooled activations of shape {tuple(pooled_BU.shape)} for layers of "
            f"{list(widths)} units; pass (B, {sum(widths)}), the layers side by side, and at least one layer."
        )
    if len(pooled_BU) != len(labels_B) or not len(labels_B):
        raise ValueError(
            f"activation losses: {len(pooled_BU)} pooled activations and {len(labels_B)} labels; pass those of one "
            "batch of at least one sample."
        )


def _class_members(labels_B: Tensor, num_classes: int | None) -> Tensor:
    """bool (C, B), a row per class; without their number B rows, of which one that names no class is empty."""
    if num_classes is not None and num_classes <= len(labels_B):
        return torch.arange(num_classes, device=labels_B.device)[:, None] == labels_B
    # A class stands in the row of its first sample.
    same_BB = labels_B[:, None] == labels_B
    is_first_B = ~same_BB.tril(-1).any(dim=1)
    return same_BB & is_first_B[:, None]


@lru_cache(maxsize=16)
def _layers(widths: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(U, L), 1 where a unit is of a layer; and (U,), the weight of each unit in a mean over layers."""
    # Kept for later steps, which may differentiate where this one does not.
    with torch.inference_mode(False):
        layer_U = torch.arange(len(widths)).repeat_interleave(torch.tensor(widths))
        layer_UL = (layer_U[:, None] == torch.arange(len(widths))).to(dtype)
        share_U = 1 / (len(widths) * torch.tensor(widths, dtype=dtype)[layer_U])
        return layer_UL.to(device), share_U.to(device)


def _widened(x: Tensor) -> Tensor:
    return x.to(_widened_dtype(x))


def _widened_dtype(x: Tensor) -> torch.dtype:
    return x.dtype if _is_wide(x) else torch.float32


def _is_wide(x: Tensor) -> bool:
    return x.dtype in (torch.float32, torch.float64)
