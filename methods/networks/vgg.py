"""VGG networks with batch normalisation for small images (Simonyan and Zisserman, ICLR 2015). Imports no torch.

Five stages of 3x3 convolutions, halved by max pooling between them, then the mean over what is left of the image (2x2
of 32 pixels, 4x4 of 64) and one linear layer in place of the paper's three, as in the public HyperSparse code.
Convolutions keep their biases, although the normalisation behind them takes these away.
"""

from __future__ import annotations

from collections.abc import Sequence

from methods.networks.architecture import Architecture, Node, Shape


def vgg(input_shape: Shape, num_outputs: int, *, stages: Sequence[int], depths: Sequence[int]) -> Architecture:
    """The architecture for images (C, H, W) of at least 16 pixels a side with five stages.

    Args:
        stages: Channels of each stage.
        depths: Convolutions of each stage.

    Raises:
        ValueError: The input is not an image, or is halved away before the last stage.
    """
    nodes = [Node("input", "input")]
    top, channels = "input", input_shape[0]
    for stage, (width, depth) in enumerate(zip(stages, depths, strict=True), start=1):
        if stage > 1:
            nodes.append(Node(f"pool{stage - 1}", "max_pool", (top,), {"kernel_size": 2, "stride": 2}))
            top = f"pool{stage - 1}"
        for number in range(1, depth + 1):
            name = f"stage{stage}_{number}"
            settings = {"in_channels": channels, "out_channels": width, "kernel_size": 3, "padding": 1}
            nodes.append(Node(f"{name}_conv", "conv2d", (top,), settings))
            nodes.append(Node(f"{name}_norm", "batch_norm", (f"{name}_conv",), {"features": width}))
            nodes.append(Node(f"{name}_relu", "relu", (f"{name}_norm",)))
            top, channels = f"{name}_relu", width
    nodes.append(Node("pool", "global_avg_pool", (top,)))
    nodes.append(Node("classifier", "linear", ("pool",), {"in_features": channels, "out_features": num_outputs}))
    return Architecture(tuple(nodes), input_shape)
