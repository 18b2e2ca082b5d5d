"""Several networks as branches of one: they read the same input, and their outputs stand side by side."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from methods.networks.architecture import Architecture, Node
from methods.networks.graph import Network
from methods.networks.restore import restore

_INPUT, _OUTPUT = "input", "scores"


def joined(branches: Sequence[Network], *, prefixes: Sequence[str] | None = None) -> Network:
    """One network whose outputs are those of the first branch, then those of the second, and so on.

    A node of branch b keeps its name behind `prefixes[b]`, by default `module<b>_`. A single branch is returned as it
    is.

    Args:
        branches: At least one, with the same input shape, on one device; their weights are shared, not copied. The
            mode (training or evaluation) is that of the first.

    Raises:
        ValueError: There is no branch, or one takes inputs of another shape.
    """
    if not branches:
        raise ValueError("joined: there is no network to join; give at least one")
    first = branches[0]
    for number, branch in enumerate(branches):
        shapes = branch.architecture.input_shape, first.architecture.input_shape
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"joined: branch {number} takes inputs of shape {shapes[0]}, the first of shape {shapes[1]}; "
                "join networks of one input shape"
            )
    if len(branches) == 1:
        return first
    nodes = [Node(_INPUT, "input")]
    tensors: dict[str, Tensor] = {}
    ends = []
    prefixes = prefixes or [f"module{number}_" for number in range(len(branches))]
    for prefix, branch in zip(prefixes, branches, strict=True):
        source, *rest = branch.architecture.nodes
        names = {source.name: _INPUT} | {node.name: prefix + node.name for node in rest}
        nodes += [
            Node(names[node.name], node.op, tuple(names[name] for name in node.inputs), node.settings) for node in rest
        ]
        tensors |= {f"nodes.{prefix}{key.removeprefix('nodes.')}": value for key, value in branch.state_dict().items()}
        ends.append(nodes[-1].name)
    nodes.append(Node(_OUTPUT, "concat", tuple(ends)))
    return restore(Architecture(tuple(nodes), first.architecture.input_shape), tensors, like=first)
