"""Many masked copies of one network in one pass: the copies share all weights, so they stack along the batch axis.

Up to the first masked site all copies see the same, so that part runs once; from there each sample goes on once per
copy, in a batch M times as large. Gradients reach the masks and the inputs.

A maximum over a window commutes with relu and with a factor that is not negative. So where a max-pooling layer without
padding is the only reader of a masked site, it pools before relu and mask: for the first site once for all copies, and
masks multiply fewer values.

Shapes: M = masked copies, B = samples, K = logits, C = channels of a site, H, W = height and width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.networks.architecture import Architecture, Node
from methods.networks.graph import Network
from methods.networks.last_layer import run_precisely


def run_stacked(network: Network, x: Tensor, masks: Mapping[str, Tensor]) -> Tensor:
    """The logits of M copies of a network, each with the outputs of some sites multiplied by a mask of its own.

    Args:
        network: Run in the mode it is in; batch statistics would mix the copies, so it should be evaluation mode.
        x: (B, C, H, W) or (B, D), as for `Network.forward`.
        masks: By the name of its site, what the units of each copy are multiplied by, (M, C), at least one site; no
            factor is negative. The result has the type of the site's output, whatever that of the mask.

    Returns:
        (M, B, K), of full precision under autocast too.

    Raises:
        ValueError: No mask, an unknown site, or masks that fit neither each other nor their sites.
    """
    copies = _checked(network, masks)
    site_of_pool = _sites_that_pools_alone_read(network.architecture, masks)
    pooled_later = set(site_of_pool.values())
    values: list[Tensor | None] = [x] * (len(network.steps) + 1)
    batch = len(x)
    result = x
    last = network.architecture.nodes[-1]
    for node, step in zip(network.architecture.nodes[1:], network.steps, strict=True):
        inputs = [value for source in step.sources if (value := values[source]) is not None]
        if len({len(value) for value in inputs}) > 1:
            inputs = [_as_many(value, copies * batch) for value in inputs]
        if node.name in pooled_later:
            result = _laid_out(inputs[0])
        elif node.name in site_of_pool:
            mask_MC, firsts = masks[site_of_pool[node.name]], _first_of_each_window(inputs[0].detach(), node)
            result = _RectifyAndMask.apply(step.function(*inputs), mask_MC, batch, firsts)  # type: ignore[no-untyped-call]
        elif node.name in masks:
            result = _RectifyAndMask.apply(_laid_out(inputs[0]), masks[node.name], batch, None)  # type: ignore[no-untyped-call]
        elif node is last:
            result = run_precisely(step, inputs)
        else:
            result = step.function(*inputs)
        values[step.target] = result
        for source in step.spent:
            values[source] = None
    return _as_many(result, copies * batch).view(copies, batch, -1)


def _checked(network: Network, masks: Mapping[str, Tensor]) -> int:
    """The number of copies."""
    units = {site.name: site.units for site in network.sites}
    unknown = [name for name in masks if name not in units]
    if unknown:
        raise ValueError(f"masks: no site {unknown[0]!r}; the network's sites are {', '.join(units)}")
    counts = {len(mask_MC) for mask_MC in masks.values()}
    if len(counts) != 1:
        raise ValueError(f"masks for {sorted(counts)} copies; give at least one mask, and the same number at each site")
    copies = counts.pop()
    for name, mask_MC in masks.items():
        if tuple(mask_MC.shape) != (copies, units[name]):
            raise ValueError(f"masks[{name!r}] has shape {tuple(mask_MC.shape)}; the site has {units[name]} units")
    return copies


def _as_many(value: Tensor, rows: int) -> Tensor:
    """A value that all copies share, once for each of them."""
    if len(value) == rows:
        return value
    repeated = value.repeat(rows // len(value), *[1] * (value.dim() - 1))
    return repeated.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else repeated


def _laid_out(value: Tensor) -> Tensor:
    """Images channels-last: of a single input channel both layouts are one, and convolutions put out the slow one."""
    return value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value


def _sites_that_pools_alone_read(architecture: Architecture, masks: Mapping[str, Tensor]) -> dict[str, str]:
    """By the name of the max-pooling layer without padding, the masked site before it that no other node reads."""
    readers: dict[str, list[Node]] = {}
    for node in architecture.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    found = {}
    for name in masks:
        read_by = readers.get(name, [])  # by none where the site ends the network
        if len(read_by) == 1 and read_by[0].op == "max_pool" and read_by[0].pair("padding") == (0, 0):
            found[read_by[0].name] = name
    return found


def _first_of_each_window(value: Tensor, pool: Node) -> Tensor:
    """What a pooling layer without padding would take where all values of a window are equal, (B, C, H, W)."""
    (kernel_height, kernel_width), (down, across) = pool.pair("kernel_size"), pool.pair("stride")
    height, width = value.shape[2:]
    return value[:, :, : height - kernel_height + 1 : down, : width - kernel_width + 1 : across]


class _RectifyAndMask(torch.autograd.Function):
    """relu(value) * mask as one function, which keeps one tensor for the way back where two functions keep two.

    A `value` of B rows is that of all copies; the result has M * B rows. `firsts` is for values pooled already: had
    the mask come first, a window under a mask of 0 would be all zeros, of which pooling takes the first; the gradient
    of the mask is then made from that first value before the mask.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, mask_MC: Tensor, batch: int, firsts: Tensor | None) -> Tensor:
        rectified = F.relu(value)
        ctx.save_for_backward(rectified, mask_MC, firsts)
        masked: Tensor = (_by_copy(rectified, batch) * _beside(mask_MC, value)).flatten(0, 1)
        return masked

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (gradient,) = gradients
        rectified, mask_MC, firsts = ctx.saved_tensors
        batch = len(gradient) // len(mask_MC)
        gradient = _by_copy(gradient, batch)
        to_value = to_mask = None
        if ctx.needs_input_grad[1]:
            before = _by_copy(rectified, batch)
            if firsts is not None:
                before = torch.where(_beside(mask_MC, rectified) > 0, before, _by_copy(F.relu(firsts), batch))
            axes = [1, *range(3, gradient.dim())]
            # Sums of bfloat16 are accumulated in float32 anyway; asking for it would copy all products first.
            to_mask = (gradient * before).sum(dim=axes).to(mask_MC.dtype)
        if ctx.needs_input_grad[0]:
            passed = (gradient * _beside(mask_MC, rectified)).flatten(0, 1)
            if len(passed) > len(rectified):
                passed = _by_copy(passed, batch).sum(dim=0)
            to_value = torch.ops.aten.threshold_backward(passed, rectified, 0)
        return to_value, to_mask, None, None


def _by_copy(value: Tensor, batch: int) -> Tensor:
    """(M, B, ...) from (M * B, ...), and (1, B, ...) from what is that of all copies."""
    by_copy: Tensor = value.unflatten(0, (-1, batch))  # type: ignore[no-untyped-call]
    return by_copy


def _beside(mask_MC: Tensor, value: Tensor) -> Tensor:
    """The mask as something that a value by copy can be multiplied by: (M, 1, C, 1, 1) or (M, 1, C)."""
    return mask_MC.to(value.dtype).reshape(len(mask_MC), 1, -1, *[1] * (value.dim() - 2))
