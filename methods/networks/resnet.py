"""Residual networks of basic blocks for small images (He et al., CVPR 2016). Imports no torch.

A 3x3 stem, stages of n blocks with two convolutions each, global average pooling, one linear layer: with S stages a
depth of 2Sn+2. Three stages are the paper's networks for CIFAR-10 (section 4.2, depth 6n+2). Four are its ResNet-18
(section 4.1) but for the stem, which shrinks large images by a 7x7 convolution and max pooling.

Where the shape changes, the shortcut is a 1x1 convolution with batch normalisation, as the public HyperSparse and MODA
code have it; He et al. pad with zeros there in networks of these depths.
"""

from __future__ import annotations

from collections.abc import Sequence

from methods.networks.architecture import Architecture, Node, Shape


def resnet(input_shape: Shape, num_outputs: int, *, depth: int, stages: Sequence[int]) -> Architecture:
    """The architecture for images (C, H, W).

    Args:
        depth: Convolutions and linear layers along the longest path, 2 for the ends and as many for every stage.
        stages: Channels of each stage, the first also the stem's.

    Raises:
        ValueError: The input is not an image.
    """
    nodes = [Node("input", "input")]

    def conv_norm(name: str, source: str, channels: tuple[int, int], *, kernel_size: int, stride: int) -> str:
        settings = {
            "in_channels": channels[0],
            "out_channels": channels[1],
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": kernel_size // 2,
            "bias": False,
        }
        nodes.append(Node(f"{name}_conv", "conv2d", (source,), settings))
        nodes.append(Node(f"{name}_norm", "batch_norm", (f"{name}_conv",), {"features": channels[1]}))
        return f"{name}_norm"

    def relu(name: str, source: str) -> str:
        nodes.append(Node(name, "relu", (source,)))
        return name

    blocks = (depth - 2) // (2 * len(stages))
    channels = stages[0]
    top = relu("stem_relu", conv_norm("stem", "input", (input_shape[0], channels), kernel_size=3, stride=1))
    for stage, width in enumerate(stages, start=1):
        for number in range(1, blocks + 1):
            block = f"stage{stage}_block{number}"
            stride = 2 if stage > 1 and number == 1 else 1
            inner = conv_norm(f"{block}_a", top, (channels, width), kernel_size=3, stride=stride)
            inner = relu(f"{block}_a_relu", inner)
            branch = conv_norm(f"{block}_b", inner, (width, width), kernel_size=3, stride=1)
            if stride != 1 or channels != width:
                top = conv_norm(f"{block}_shortcut", top, (channels, width), kernel_size=1, stride=stride)
            nodes.append(Node(f"{block}_sum", "add", (branch, top)))
            top = relu(f"{block}_relu", f"{block}_sum")
            channels = width
    nodes.append(Node("pool", "global_avg_pool", (top,)))
    nodes.append(Node("classifier", "linear", ("pool",), {"in_features": channels, "out_features": num_outputs}))
    return Architecture(tuple(nodes), input_shape)
