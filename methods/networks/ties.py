"""Which sites decide together which channels there are: those whose outputs a sum adds up. Imports no torch."""

from __future__ import annotations

from methods.networks.architecture import Architecture, Node


def tied_sites(architecture: Architecture) -> tuple[tuple[int, ...], ...]:
    """The sites in groups that share one mask; a site that is tied to no other is a group of its own.

    Sites are tied when their outputs meet in one `add`, each handed on channel by channel: through pooling, batch
    normalisation, depthwise convolutions, dropout and other sums. A channel disappears from the sum only when all of
    them drop it. Beyond any other layer, a ReLU among them, ties end: so the usual residual network, where a sum adds
    the output of a normalisation to that of a ReLU, has none. Nor are channels followed that `concat`, `flatten` or
    `select` have moved.

    Returns:
        Indices into the sites in order of computation, ascending in each group; groups in the order of their first.
    """
    sites = [node.name for node in architecture.nodes if node.op == "relu"]
    reached = _reached_sites(architecture)
    group_of = {name: {name} for name in sites}
    for node in architecture.nodes:
        if node.op == "add":
            together = set[str]().union(*(group_of[name] for name in reached[node.name]))
            group_of |= dict.fromkeys(together, together)
    place = {name: index for index, name in enumerate(sites)}
    return tuple(sorted({tuple(sorted(place[name] for name in group)) for group in group_of.values()}))


def meeting_sums(architecture: Architecture) -> dict[tuple[int, ...], str]:
    """For each group of two or more tied sites the last `add` that sums any of them: there all have usually met."""
    groups = {index: group for group in tied_sites(architecture) for index in group if len(group) > 1}
    place = {node.name: index for index, node in enumerate(node for node in architecture.nodes if node.op == "relu")}
    reached = _reached_sites(architecture)
    sums: dict[tuple[int, ...], str] = {}
    for node in architecture.nodes:
        if node.op == "add":
            sums |= {groups[place[name]]: node.name for name in reached[node.name] if place[name] in groups}
    return sums


def convolution_sites(architecture: Architecture) -> tuple[int, ...]:
    """Indices of the sites whose units are channels with a height and a width, as convolutions put them out.

    These are the kernels that decomposition counts. ReLUs behind linear layers, or behind pooling over the whole image,
    do not count: their units are single numbers.
    """
    shapes = [architecture.shapes[node.name] for node in architecture.nodes if node.op == "relu"]
    return tuple(index for index, shape in enumerate(shapes) if len(shape) == 3)


def _reached_sites(architecture: Architecture) -> dict[str, frozenset[str]]:
    """For each node the sites of whose outputs its channels are made, channel by channel."""
    reached: dict[str, frozenset[str]] = {}
    for node in architecture.nodes:
        if node.op == "relu":
            reached[node.name] = frozenset([node.name])
        elif _keeps_channels_apart(node):
            reached[node.name] = frozenset[str]().union(*(reached[name] for name in node.inputs))
        else:
            reached[node.name] = frozenset()
    return reached


def _keeps_channels_apart(node: Node) -> bool:
    """Whether channel c of the output is made of the channels c of the inputs alone."""
    if node.op == "conv2d":
        channels, outputs, groups = (node.settings[key] for key in ("in_channels", "out_channels", "groups"))
        return bool(1 < groups == channels == outputs)
    return node.op in ("max_pool", "avg_pool", "global_avg_pool", "batch_norm", "dropout", "add")
