"""LeNet-5 as it is used today (after LeCun et al., Proceedings of the IEEE 1998). Imports no torch.

Two 5x5 convolutions without padding, each with ReLU and 2x2 max pooling, then linear layers; the paper has saturating
units, trainable mean pooling and sparse connections between maps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from methods.networks.architecture import Architecture, Node, Shape
from methods.networks.dense_head import head_nodes


def lenet(input_shape: Shape, num_outputs: int, *, channels: Sequence[int], hidden: Sequence[int]) -> Architecture:
    """The architecture for images (C, H, W) of at least 16 pixels a side with two convolutions.

    Args:
        channels: Of each convolution.
        hidden: Widths of the linear layers before the last.

    Raises:
        ValueError: The input is not an image, or is shrunk away before the first linear layer.
    """
    nodes = [Node("input", "input")]
    top, width, sides = "input", input_shape[0], list(input_shape[1:])
    for number, outputs in enumerate(channels, start=1):
        settings = {"in_channels": width, "out_channels": outputs, "kernel_size": 5}
        nodes.append(Node(f"conv{number}", "conv2d", (top,), settings))
        nodes.append(Node(f"conv{number}_relu", "relu", (f"conv{number}",)))
        nodes.append(Node(f"pool{number}", "max_pool", (f"conv{number}_relu",), {"kernel_size": 2, "stride": 2}))
        top, width, sides = f"pool{number}", outputs, [(side - 4) // 2 for side in sides]
    nodes.append(Node("flatten", "flatten", (top,)))
    widths = (width * math.prod(sides), *hidden, num_outputs)
    return Architecture((*nodes, *head_nodes("flatten", widths)), input_shape)
