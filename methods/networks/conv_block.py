"""A same-size convolution with what follows it: batch normalisation, if wanted, and ReLU. Imports no torch."""

from __future__ import annotations

from methods.networks.architecture import Node


def conv_block_nodes(
    name: str, source: str, *, channels: tuple[int, int], kernel_size: int, normalised: bool
) -> list[Node]:
    """The nodes `name`, `<name>_norm` and, last, `<name>_relu`. The convolution has a bias in any case.

    Args:
        source: Name of the node below, images.
        channels: In and out.
        kernel_size: Odd.
        normalised: Whether there is batch normalisation.
    """
    inputs, outputs = channels
    window = {"kernel_size": kernel_size, "padding": kernel_size // 2}
    nodes = [Node(name, "conv2d", (source,), {"in_channels": inputs, "out_channels": outputs, **window})]
    if normalised:
        nodes.append(Node(f"{name}_norm", "batch_norm", (name,), {"features": outputs}))
    return [*nodes, Node(f"{name}_relu", "relu", (nodes[-1].name,))]
