"""The dense head of a network: its last linear layers with ReLUs between. Of a multilayer perceptron that is the whole.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from methods.networks.architecture import Architecture, Node


@dataclass(frozen=True)
class DenseHead:
    """Names of the nodes of a head, from its input to the logits."""

    layers: tuple[str, ...]
    """Linear layers; the last gives the logits."""
    sites: tuple[str, ...]
    """ReLUs between them, one fewer."""
    widths: tuple[int, ...]
    """Inputs, hidden layers, outputs."""


def find_head(architecture: Architecture) -> DenseHead | None:
    """The longest chain linear - ReLU - linear - ... - logits at the end; None where it has no hidden layer.

    Each layer of it has a bias, which is where units that are dropped may leave what they contributed. Dropout between
    two layers ends the chain.
    """
    nodes = {node.name: node for node in architecture.nodes}
    readers = architecture.num_readers()
    top = architecture.nodes[-1]
    if top.op != "linear" or not top.settings["bias"]:
        return None
    layers: list[Node] = [top]
    sites: list[Node] = []
    while True:
        site = nodes[layers[0].inputs[0]]
        below = nodes[site.inputs[0]] if site.inputs else site
        fits = site.op == "relu" and below.op == "linear" and below.settings["bias"]
        if not fits or readers[site.name] > 1 or readers[below.name] > 1:
            break
        layers.insert(0, below)
        sites.insert(0, site)
    if not sites:
        return None
    widths = (layers[0].settings["in_features"], *(layer.settings["out_features"] for layer in layers))
    return DenseHead(tuple(layer.name for layer in layers), tuple(site.name for site in sites), widths)


def head_nodes(source: str, widths: Sequence[int], *, dropout: float = 0.0) -> list[Node]:
    """The nodes of a head: linear layers `hidden1`, `hidden2`, ... with ReLUs behind them, then `classifier`.

    Args:
        source: Name of the node below, a vector.
        widths: Inputs, hidden layers, outputs.
        dropout: Its probability before each hidden layer; 0: none.
    """
    nodes: list[Node] = []
    *inner, last = pairwise(widths)
    for number, (features, units) in enumerate(inner, start=1):
        if dropout:
            nodes.append(Node(f"dropout{number}", "dropout", (source,), {"probability": dropout}))
            source = f"dropout{number}"
        settings = {"in_features": features, "out_features": units}
        nodes.append(Node(f"hidden{number}", "linear", (source,), settings))
        nodes.append(Node(f"hidden{number}_relu", "relu", (f"hidden{number}",)))
        source = f"hidden{number}_relu"
    return [*nodes, Node("classifier", "linear", (source,), {"in_features": last[0], "out_features": last[1]})]


def resized(architecture: Architecture, head: DenseHead, hidden: Sequence[int]) -> Architecture:
    """The architecture with other widths of its head's hidden layers.

    Raises:
        ValueError: Not one width of at least 1 for each hidden layer.
    """
    if len(hidden) != len(head.sites):
        raise ValueError(f"{len(hidden)} widths for {len(head.sites)} hidden layers; give one for each")
    sizes = dict(zip(head.layers, pairwise([head.widths[0], *hidden, head.widths[-1]]), strict=True))
    nodes = [
        replace(
            node,
            settings=node.settings | {"in_features": sizes[node.name][0], "out_features": sizes[node.name][1]},
        )
        if node.name in sizes
        else node
        for node in architecture.nodes
    ]
    return Architecture(tuple(nodes), architecture.input_shape)


def parameter_count(widths: Sequence[int]) -> int:
    """Weights and biases of a multilayer perceptron: the sum of (n_{l-1} + 1) n_l.

    Args:
        widths: Inputs, hidden layers, outputs.
    """
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(widths))
