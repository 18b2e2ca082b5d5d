"""Residual networks for small images (He et al., CVPR 2016, section 4.2). Imports no torch.

Depth 6n+2: a 3x3 stem, three stages of n basic blocks, global average pooling, one linear layer. Where the shape
changes, the shortcut is a 1x1 convolution with batch normalisation, as in the public HyperSparse code; He et al. pad
with zeros there.
"""

from __future__ import annotations

from collections.abc import Sequence

from methods.networks.architecture import Architecture, Node, Shape


def resnet(input_shape: Shape, num_outputs: int, *, depth: int, stages: Sequence[int]) -> Architecture:
    """The architecture for images (C, H, W); `stages` are the channels of the three stages, the first also the stem's.

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

    channels = stages[0]
    top = relu("stem_relu", conv_norm("stem", "input", (input_shape[0], channels), kernel_size=3, stride=1))
    for stage, width in enumerate(stages, start=1):
        for number in range(1, (depth - 2) // 6 + 1):
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
