"""VGG networks for small images (Simonyan and Zisserman, ICLR 2015). Imports no torch.

Five stages of 3x3 convolutions, halved by max pooling between them. What follows comes in two forms: the paper's, a
fifth pooling and three linear layers, without dropout as in the public MODA code; or the mean over what is left of the
image (2x2 of 32 pixels, 4x4 of 64) and one linear layer, as in the public HyperSparse code.
Convolutions keep their biases, although batch normalisation behind them takes these away.

SimCNN of the papers on decomposition is the first form with dropout: GradSplitter's (Qi et al., arXiv 2311.04438) has
batch normalisation and the paper's wide hidden layers, CNNSplitter's (arXiv 2209.06116) neither.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from methods.networks.architecture import Architecture, Node, Shape
from methods.networks.dense_head import head_nodes


def vgg(
    input_shape: Shape,
    num_outputs: int,
    *,
    stages: Sequence[int],
    depths: Sequence[int],
    hidden: Sequence[int] = (),
    normalised: bool = True,
    dropout: float = 0.0,
) -> Architecture:
    """The architecture for images (C, H, W): with five stages of at least 16 pixels a side, with hidden layers of 32.

    Args:
        stages: Channels of each stage.
        depths: Convolutions of each stage.
        hidden: Widths of the linear layers before the last; empty: the mean over the image in their place.
        normalised: Whether batch normalisation follows each convolution.
        dropout: Its probability before each hidden linear layer; 0: none.

    Raises:
        ValueError: The input is not an image, or is halved away before its end.
    """
    nodes = [Node("input", "input")]
    top, channels = "input", input_shape[0]
    for stage, (width, depth) in enumerate(zip(stages, depths, strict=True), start=1):
        for number in range(1, depth + 1):
            name = f"stage{stage}_{number}"
            settings = {"in_channels": channels, "out_channels": width, "kernel_size": 3, "padding": 1}
            nodes.append(Node(f"{name}_conv", "conv2d", (top,), settings))
            top, channels = f"{name}_conv", width
            if normalised:
                nodes.append(Node(f"{name}_norm", "batch_norm", (top,), {"features": width}))
                top = f"{name}_norm"
            nodes.append(Node(f"{name}_relu", "relu", (top,)))
            top = f"{name}_relu"
        if stage < len(stages) or hidden:
            nodes.append(Node(f"pool{stage}", "max_pool", (top,), {"kernel_size": 2, "stride": 2}))
            top = f"pool{stage}"
    if not hidden:
        nodes += [Node("pool", "global_avg_pool", (top,)), *head_nodes("pool", (channels, num_outputs))]
        return Architecture(tuple(nodes), input_shape)
    features = channels * math.prod(size >> len(stages) for size in input_shape[1:])
    head = head_nodes("flatten", (features, *hidden, num_outputs), dropout=dropout)
    nodes += [Node("flatten", "flatten", (top,)), *head]
    return Architecture(tuple(nodes), input_shape)
