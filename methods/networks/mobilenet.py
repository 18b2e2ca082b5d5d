"""MobileNet for small images (Howard et al., arXiv 1704.04861). Imports no torch.

A 3x3 stem, blocks of a depthwise 3x3 and a pointwise 1x1 convolution, each with batch normalisation and ReLU, the mean
over the image, one linear layer. The stem keeps the size of the image, which the paper's, for 224 pixels, halves.
"""

from __future__ import annotations

from collections.abc import Sequence

from methods.networks.architecture import Architecture, Node, Shape


def mobilenet(
    input_shape: Shape, num_outputs: int, *, stem: int, blocks: Sequence[int], strides: Sequence[int]
) -> Architecture:
    """The architecture for images (C, H, W).

    Args:
        stem: Channels of the stem.
        blocks: Channels that each block puts out.
        strides: Of each block's depthwise convolution.

    Raises:
        ValueError: The input is not an image.
    """
    nodes = [Node("input", "input")]

    def layer(name: str, source: str, channels: tuple[int, int], **settings: int) -> str:
        sizes = {"in_channels": channels[0], "out_channels": channels[1], "bias": False}
        nodes.append(Node(f"{name}_conv", "conv2d", (source,), sizes | settings))
        nodes.append(Node(f"{name}_norm", "batch_norm", (f"{name}_conv",), {"features": channels[1]}))
        nodes.append(Node(f"{name}_relu", "relu", (f"{name}_norm",)))
        return f"{name}_relu"

    top, channels = layer("stem", "input", (input_shape[0], stem), kernel_size=3, padding=1), stem
    for number, (width, stride) in enumerate(zip(blocks, strides, strict=True), start=1):
        same = (channels, channels)
        top = layer(f"block{number}_a", top, same, kernel_size=3, padding=1, stride=stride, groups=channels)
        top, channels = layer(f"block{number}_b", top, (channels, width), kernel_size=1), width
    nodes.append(Node("pool", "global_avg_pool", (top,)))
    nodes.append(Node("classifier", "linear", ("pool",), {"in_features": channels, "out_features": num_outputs}))
    return Architecture(tuple(nodes), input_shape)
