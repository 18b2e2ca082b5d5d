"""Which layers of a network can change their width while all others stay as they are. Imports no torch.

In a residual network these are the convolutions of a block, whose inner channels nobody else reads: the stream that
blocks add to keeps its channels. A network without sums is one part, of all its layers: every inner width follows,
input and logits stay. Source: Sommariva et al., "How to Train Your Metamorphic Deep Neural Network", 2025, arXiv
2505.05510 (blocks 1 and up of each stage but the very last), and Yang and Wang, "Neural Metamorphosis", ECCV 2024,
arXiv 2410.11878 (the last block alone; whole plain networks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from methods.networks.architecture import Architecture, Node

Blocks = Literal["inner", "all", "last"]
"""Which residual blocks morph: `inner`, all but the first of each stage and the very last; `all`; `last`, the very last
alone."""

_PASSING = ("batch_norm", "relu", "dropout", "max_pool", "avg_pool", "global_avg_pool", "flatten")
_FINEST = 10_000
"""Denominator to which a width is understood, so that 0.4 means two fifths."""


@dataclass(frozen=True)
class MorphingLayer:
    """A convolution or linear layer some of whose channels follow the requested width."""

    name: str
    """Of its node."""
    outputs: int
    inputs: int
    """Channels at full width; of a linear layer behind `flatten` those of the maps that were flattened."""
    taps: tuple[int, ...]
    """Values that one output has for one input: the kernel's (height, width), the flattened map's, or ()."""
    output_site: str | None
    """The ReLU whose width its outputs are; None where they do not follow."""
    input_site: str | None
    """The ReLU whose width its inputs are; None where they do not follow."""
    flattens: bool = False
    """Whether it is a linear layer that reads a flattened map, so that its weight is stored as (outputs, inputs times
    taps)."""


@dataclass(frozen=True)
class Part:
    """Layers that change their width together: a residual block, or a whole network without sums."""

    stage: int
    """From 1."""
    block: int
    """Within its stage, from 0."""
    layers: tuple[MorphingLayer, ...]
    """In order of computation."""
    total: str | None = None
    """The node that adds this block to what it read, where that has the same shape, so that the block can be left out;
    None for any other part."""

    @property
    def sites(self) -> tuple[str, ...]:
        """The ReLUs whose widths follow."""
        return tuple(layer.output_site for layer in self.layers if layer.output_site is not None)


def morphing_parts(architecture: Architecture, *, blocks: Blocks = "inner") -> tuple[Part, ...]:
    """The parts in order of computation; batch normalisation may be folded in or not.

    Args:
        blocks: Which residual blocks morph; a network without sums has one part in any case.

    Raises:
        ValueError: Nothing can change its width; the message names the node that stands in the way.
    """
    if any(node.op == "add" for node in architecture.nodes):
        found = _blocks(architecture)
        last = found[-1]
        chosen = {
            "all": found,
            "last": [last],
            "inner": [part for part in found if part.block > 0 and part is not last],
        }[blocks]
        if not chosen:
            raise ValueError(
                f"no residual block is between the first of its stage and the last of the network ({len(found)} blocks "
                "in all); choose `blocks: all` or `blocks: last`, or a deeper network"
            )
        return tuple(chosen)
    return (_whole(architecture),)


def widest(parts: Sequence[Part]) -> int:
    """The most units that a morphing site of the network has: its full width in the papers' units, as 64."""
    return max(layer.outputs for part in parts for layer in part.layers if layer.output_site is not None)


def units_at(parts: Sequence[Part], width: float) -> dict[str, int]:
    """Units of each morphing site at a width, rounded half to even.

    Args:
        width: Share of the full width, above 0; above 1 the network is wider than the trained one.

    Raises:
        ValueError: A site would have no unit; the message says from which width on all have.
    """
    share = Fraction(width).limit_denominator(_FINEST)
    full = {layer.output_site: layer.outputs for part in parts for layer in part.layers if layer.output_site}
    units = {site: round(share * count) for site, count in full.items()}
    if not share > 0 or min(units.values()) < 1:
        least = min(full.values())
        raise ValueError(
            f"width {width:g} leaves a layer of {least} units none; give a width above {Fraction(1, 2 * least)} "
            f"({1 / (2 * least):.3g})"
        )
    return units


def stage_blocks(architecture: Architecture) -> dict[int, int]:
    """How many residual blocks each stage has, those that never morph included."""
    counts: dict[int, int] = {}
    for part in morphing_parts(architecture, blocks="all"):
        counts[part.stage] = counts.get(part.stage, 0) + 1
    return counts


def most_left_out(architecture: Architecture) -> dict[int, int]:
    """How many blocks of each stage may be left out at once: half, so that at least half stay (ours)."""
    return {stage: count // 2 for stage, count in stage_blocks(architecture).items()}


def _blocks(architecture: Architecture) -> list[Part]:
    """Every residual block: two layers with a ReLU between that nobody else reads, and a sum behind them."""
    nodes = {node.name: node for node in architecture.nodes}
    readers = architecture.num_readers()
    found: list[Part] = []
    stage, channels = 0, 0
    for node in architecture.nodes:
        if node.op != "add":
            continue
        branch = _branch(nodes, readers, node)
        if branch is None:
            raise ValueError(
                f"node '{node.name}': what is added there is no branch of two convolutions with a ReLU between that "
                "nobody else reads, so its width cannot change by itself; use one of the residual networks resnet18, "
                "resnet20, resnet32, resnet56 and resnet32_double, or a network without sums"
            )
        first, site, second = branch
        width = architecture.shapes[node.name][0]
        stage, block = (stage, found[-1].block + 1) if width == channels else (stage + 1, 0)
        channels = width
        layers = (
            _layer(architecture, first, output_site=site.name, input_site=None),
            _layer(architecture, second, output_site=None, input_site=site.name),
        )
        skips = first.inputs[0] in node.inputs
        found.append(Part(stage, block, layers, total=node.name if skips else None))
    return found


def _branch(nodes: Mapping[str, Node], readers: Mapping[str, int], total: Node) -> tuple[Node, Node, Node] | None:
    for name in total.inputs:
        second = _through_norm(nodes, readers, name)
        if second is None or second.op != "conv2d":
            continue
        site = nodes[second.inputs[0]]
        if site.op != "relu" or readers[site.name] > 1:
            continue
        first = _through_norm(nodes, readers, site.inputs[0])
        if first is not None and first.op == "conv2d" and first.settings["groups"] == second.settings["groups"] == 1:
            return first, site, second
    return None


def _through_norm(nodes: Mapping[str, Node], readers: Mapping[str, int], name: str) -> Node | None:
    """The node of that name, or the one below if it is a normalisation; None where others read either."""
    node = nodes[name]
    if node.op == "batch_norm" and readers[name] == 1:
        node = nodes[node.inputs[0]]
    return node if readers[node.name] == 1 else None


def _whole(architecture: Architecture) -> Part:
    nodes = {node.name: node for node in architecture.nodes}
    readers = architecture.num_readers()
    for node in architecture.nodes[1:]:
        grouped = node.op == "conv2d" and node.settings["groups"] > 1
        if grouped or node.op not in ("conv2d", "linear", *_PASSING) or readers[node.name] > 1:
            raise ValueError(
                f"node '{node.name}' ({node.op}): its width cannot change by itself; use a network whose layers follow "
                "one another, such as small_cnn, lenet5, mlp or vgg16, or a residual network"
            )
    layered = [node for node in architecture.nodes if node.op in ("conv2d", "linear")]
    site_below: str | None = None
    layers = []
    for position, node in enumerate(layered):
        above = layered[position + 1] if position + 1 < len(layered) else None
        site_above = None if above is None else _site_between(nodes, node, above)
        layers.append(_layer(architecture, node, output_site=site_above, input_site=site_below))
        site_below = site_above
    if not any(layer.output_site for layer in layers):
        raise ValueError("the network has no hidden layer with a ReLU behind it, so it has no width to change")
    return Part(1, 0, tuple(layers))


def _site_between(nodes: Mapping[str, Node], below: Node, above: Node) -> str | None:
    """The first ReLU behind a layer and before the next one."""
    node, site = nodes[above.inputs[0]], None
    while node is not below:
        site = node.name if node.op == "relu" else site
        node = nodes[node.inputs[0]]
    return site


def _layer(architecture: Architecture, node: Node, *, output_site: str | None, input_site: str | None) -> MorphingLayer:
    if node.op == "conv2d":
        outputs, inputs = node.settings["out_channels"], node.settings["in_channels"]
        return MorphingLayer(node.name, outputs, inputs, node.pair("kernel_size"), output_site, input_site)
    outputs, inputs, taps = node.settings["out_features"], node.settings["in_features"], _flattened(architecture, node)
    if input_site is None or not taps:
        return MorphingLayer(node.name, outputs, inputs, (), output_site, input_site)
    return MorphingLayer(
        node.name, outputs, inputs // (taps[0] * taps[1]), taps, output_site, input_site, flattens=True
    )


def _flattened(architecture: Architecture, node: Node) -> tuple[int, ...]:
    """(height, width) of the maps that a linear layer reads as one vector; () where it reads none."""
    nodes = {one.name: one for one in architecture.nodes}
    below = nodes[node.inputs[0]]
    while below.op in ("dropout", "relu"):
        below = nodes[below.inputs[0]]
    return architecture.shapes[below.inputs[0]][1:] if below.op == "flatten" else ()
