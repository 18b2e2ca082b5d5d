"""A network with other numbers of units at some of its sites. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from methods.networks.architecture import Architecture, Node

_PASSING = ("batch_norm", "relu", "dropout", "max_pool", "avg_pool", "global_avg_pool")


def with_units(architecture: Architecture, units: Mapping[str, int]) -> Architecture:
    """The architecture with other numbers of units at some sites, more or fewer.

    Raises:
        ValueError: A site is unknown, has no layer of its own, or meets others in a sum.
    """
    nodes = {node.name: node for node in architecture.nodes}
    outputs = {}
    for site, count in units.items():
        if site not in nodes or nodes[site].op != "relu":
            raise ValueError(f"with_units: the network has no site {site!r}")
        outputs[_layer_below(nodes, nodes[site])] = count
    channels: dict[str, int] = {}
    made: list[Node] = []
    for node in architecture.nodes:
        before = [channels[name] for name in node.inputs]
        settings = dict(node.settings)
        if node.op == "conv2d":
            settings |= {"in_channels": before[0], "out_channels": outputs.get(node.name, settings["out_channels"])}
            channels[node.name] = int(settings["out_channels"])
        elif node.op == "linear":
            settings |= {"in_features": before[0], "out_features": outputs.get(node.name, settings["out_features"])}
            channels[node.name] = int(settings["out_features"])
        elif node.op == "batch_norm":
            settings |= {"features": before[0]}
            channels[node.name] = before[0]
        elif node.op == "flatten":
            old, new = architecture.shapes[node.inputs[0]][0], before[0]
            channels[node.name] = architecture.shapes[node.name][0] // old * new
        elif node.op in _PASSING:
            channels[node.name] = before[0]
        else:
            channels[node.name] = architecture.shapes[node.name][0]
        made.append(replace(node, settings=settings))
    return Architecture(tuple(made), architecture.input_shape)


def _layer_below(nodes: Mapping[str, Node], site: Node) -> str:
    node = nodes[site.inputs[0]]
    while node.op == "batch_norm":
        node = nodes[node.inputs[0]]
    if node.op not in ("conv2d", "linear"):
        raise ValueError(f"with_units: site '{site.name}' reads '{node.name}' ({node.op}), whose width is not its own")
    return node.name
