"""Sizes of cut networks, counted from the channels they hold and without cutting: thousands of keep-sets in a second.

Counted are the learned values of the network as it is, batch normalisation included, as activation-driven modular
training (Ngo et al., ICSE 2026) counts its modules, not those of the form to deploy; MACs are those of
`methods.measure.compute`.

Shapes: S = keep-sets, U = units of a site, K = outputs or classes, C = channels of a node.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from methods.modules.heads import HIDDEN, ModuleHeads
from methods.modules.library import ModuleLibrary
from methods.networks.architecture import Architecture, Node
from methods.networks.liveness import sums_inputs
from methods.networks.presence import present_channels
from methods.networks.sites import sites_of

_KEEP_SETS_AT_A_TIME = 1024
"""A VGG has about 50,000 channels over all its nodes, so two bytes for each make 100 MB."""


@dataclass(frozen=True)
class CutSizes:
    """What cut networks hold and do, int64 (S,), exactly as counted on networks that were really cut."""

    parameters: Tensor
    macs: Tensor
    """Of one sample; 1 MAC = 2 FLOPs."""


def cut_sizes(architecture: Architecture, masks: Sequence[Tensor], outputs_SK: Tensor) -> CutSizes:
    """Sizes of the networks that `methods.surgery.extract` makes of each of many keep-sets.

    Args:
        masks: The units that stay, bool (S, U) on the CPU, one tensor for each site in order.
        outputs_SK: The logits that stay, bool on the CPU, at least one in each row.

    Raises:
        ValueError: Masks that do not fit the sites, a row without outputs, or a convolution with groups that cannot be
            cut.
    """
    kept = _checked(architecture, masks, outputs_SK)
    parts = []
    for rows in torch.split(torch.arange(len(outputs_SK)), _KEEP_SETS_AT_A_TIME):
        present = present_channels(architecture, {name: mask[rows] for name, mask in kept.items()}, outputs_SK[rows])
        parts.append(_sizes(architecture, {name: mask_SC.sum(dim=1) for name, mask_SC in present.items()}))
    return CutSizes(torch.cat([part.parameters for part in parts]), torch.cat([part.macs for part in parts]))


def composition_sizes(library: ModuleLibrary, subsets_SK: Tensor) -> CutSizes:
    """Sizes of what `library.compose` makes for each of many sets of classes.

    Of modules side by side, parameters are those of the network that they share, cut to what any of them uses, and of
    their heads; MACs are those of all modules together.

    Args:
        subsets_SK: Row s marks the classes of composition s, bool, at least one in each row.

    Raises:
        ValueError: A wrong number of classes, a row without any, or a convolution with groups that cannot be cut.
    """
    subsets_SK = subsets_SK.cpu()
    num_classes = len(library.class_names)
    if subsets_SK.dtype != torch.bool or tuple(subsets_SK.shape[1:]) != (num_classes,):
        raise ValueError(
            f"subsets: {subsets_SK.dtype} {tuple(subsets_SK.shape)}, not bool (S, {num_classes}); "
            "give one row for each composition, with a mark for each class of the library"
        )
    masks = [mask_KU.cpu() for mask_KU in library.masks]
    if library.composition == "side_by_side":
        return _side_by_side_sizes(library, masks, subsets_SK)
    return cut_sizes(library.network.architecture, _united(masks, subsets_SK), subsets_SK)


def shared_parameters(architecture: Architecture, masks: Sequence[Tensor], outputs_SK: Tensor) -> Tensor:
    """How many learned values of the network each two cut networks have in common, int64 (S, S).

    A weight is in a cut network when both channels that it connects are. On the diagonal stands what a cut network
    holds of the full one: all its parameters, but for the few that surgery makes up where nothing comes into a layer.

    Args:
        masks: As for `cut_sizes`.
        outputs_SK: As for `cut_sizes`; the weights of a logit are shared where both rows keep it.

    Raises:
        ValueError: As for `cut_sizes`.
    """
    present = present_channels(architecture, _checked(architecture, masks, outputs_SK), outputs_SK)
    both = {name: _in_both(mask_SC) for name, mask_SC in present.items()}
    shared_SS = torch.zeros(len(outputs_SK), len(outputs_SK), dtype=torch.int64)
    for node in architecture.nodes[1:]:
        shared_SS += _learned(node, both[node.name], both[node.inputs[0]])
    return shared_SS


def _united(masks: Sequence[Tensor], subsets_SK: Tensor) -> list[Tensor]:
    """The units that any chosen class keeps, bool (S, U) per site."""
    # The number of such classes; exact in float32, which multiplies faster than integers do.
    chosen_SK = subsets_SK.float()
    return [chosen_SK @ mask_KU.float() > 0 for mask_KU in masks]


def _side_by_side_sizes(library: ModuleLibrary, masks: Sequence[Tensor], subsets_SK: Tensor) -> CutSizes:
    architecture = library.network.architecture
    kept = _checked(architecture, masks, library.computed)
    # A unit that its own module does not use, as nothing reads it there, is not put in for the sake of another.
    present = present_channels(architecture, kept, library.computed)
    used = [present[name] for name in kept]
    outputs_SK = subsets_SK if library.heads is None else torch.ones_like(subsets_SK)
    shared = cut_sizes(architecture, _united(used, subsets_SK), outputs_SK)
    alone = cut_sizes(architecture, used, library.computed)
    parameters, macs = _head_sizes(library.heads)
    return CutSizes(
        parameters=shared.parameters + subsets_SK.sum(dim=1) * parameters,
        macs=(subsets_SK.long() * (alone.macs + macs)).sum(dim=1),
    )


def _head_sizes(heads: ModuleHeads | None) -> tuple[int, int]:
    """Parameters and MACs of one head."""
    if heads is None:
        return 0, 0
    return sum(parameter[0].numel() for parameter in heads.parameters()), HIDDEN * (heads.num_classes + 1)


def _checked(architecture: Architecture, masks: Sequence[Tensor], outputs_SK: Tensor) -> dict[str, Tensor]:
    """The masks by the name of their site."""
    sites = sites_of(architecture)
    if len(masks) != len(sites):
        raise ValueError(f"masks for {len(masks)} sites, but the network has {len(sites)}; give one for each, in order")
    kept = {site.name: mask_SU for site, mask_SU in zip(sites, masks, strict=True)}
    wanted = {f"mask of site '{site.name}'": (kept[site.name], site.units) for site in sites}
    for what, (rows, columns) in {"outputs": (outputs_SK, architecture.num_outputs), **wanted}.items():
        shape = (len(outputs_SK), columns)
        if rows.dtype != torch.bool or tuple(rows.shape) != shape:
            raise ValueError(
                f"{what}: {rows.dtype} {tuple(rows.shape)}, not bool {shape}; give a row for each keep-set"
            )
    empty = (~outputs_SK.any(dim=1)).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"row {empty[0]} names no output; mark at least one in each row")
    return kept


def _in_both(mask_SC: Tensor) -> Tensor:
    """How many channels each two rows have in common, int64 (S, S)."""
    ones_SC = mask_SC.double()
    return (ones_SC @ ones_SC.T).long()


def _sizes(architecture: Architecture, counts: Mapping[str, Tensor]) -> CutSizes:
    """The sizes for numbers (S,) of channels present, by node."""
    parameters, macs = _convolutions_of_zeros(architecture, counts)
    for node in architecture.nodes[1:]:
        outputs_S, inputs_S = counts[node.name], counts[node.inputs[0]]
        # Where nothing comes into a layer, surgery makes up one weight for each output.
        made_up_S = outputs_S * (inputs_S == 0) if sums_inputs(node) else torch.zeros_like(outputs_S)
        parameters += _learned(node, outputs_S, inputs_S) + made_up_S
        macs += _positions(architecture, node) * (_weights(node, outputs_S, inputs_S) + made_up_S)
    return CutSizes(parameters, macs)


def _convolutions_of_zeros(architecture: Architecture, counts: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Parameters and MACs (S,) of the convolutions that only give zeros the height and width that a layer expects.

    Surgery uses a pool for that, but no pool pads by more than half of its window.
    """
    parameters, macs = (torch.zeros_like(counts[architecture.nodes[0].name]) for _ in range(2))
    nodes = {node.name: node for node in architecture.nodes}
    for name, wanted_S in _readers_of_zeros(architecture, counts):
        node = nodes[name]
        while node.op != "input":
            if _resized_by_padding(architecture, node):
                kernel = math.prod(node.pair("kernel_size"))
                parameters += kernel * wanted_S
                macs += _positions(architecture, node) * kernel * wanted_S
            node = nodes[node.inputs[0]]
            wanted_S = wanted_S & (counts[node.name] == 0)
    return parameters, macs


def _readers_of_zeros(architecture: Architecture, counts: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Nodes of whose size zeros are wanted though nothing of them is there yet, with the rows (S,) that want them."""
    for node in architecture.nodes[1:]:
        if node.op in ("conv2d", "linear", "batch_norm"):
            nothing_comes_S = (counts[node.name] > 0) & (counts[node.inputs[0]] == 0)
            yield node.name if sums_inputs(node) else node.inputs[0], nothing_comes_S
    last = architecture.nodes[-1].name
    yield last, counts[last] == 0


def _resized_by_padding(architecture: Architecture, node: Node) -> bool:
    if node.op != "conv2d" or architecture.shapes[node.name][1:] == architecture.shapes[node.inputs[0]][1:]:
        return False
    pairs = zip(node.pair("padding"), node.pair("kernel_size"), strict=True)
    return any(2 * padding > kernel for padding, kernel in pairs)


def _learned(node: Node, outputs: Tensor, inputs: Tensor) -> Tensor:
    """Learned values of a node for any numbers of its channels and of those that come in."""
    if node.op == "batch_norm":
        return 2 * outputs
    weights = _weights(node, outputs, inputs)
    return weights + outputs if node.settings.get("bias") else weights


def _weights(node: Node, outputs: Tensor, inputs: Tensor) -> Tensor:
    """Weights of a node, each of which makes one product for each position of the output."""
    if node.op == "linear":
        return outputs * inputs
    if node.op == "conv2d":
        kernel = math.prod(node.pair("kernel_size"))
        return kernel * outputs * inputs if sums_inputs(node) else kernel * outputs
    return torch.zeros_like(outputs)


def _positions(architecture: Architecture, node: Node) -> int:
    return math.prod(architecture.shapes[node.name][1:])
