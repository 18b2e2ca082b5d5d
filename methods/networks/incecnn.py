"""InceCNN of GradSplitter (Qi et al., arXiv 2311.04438): a plain stem, three inception blocks. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from methods.networks.architecture import Architecture, Node, Shape
from methods.networks.conv_block import conv_block_nodes

_KERNELS = (1, 3, 5)
"""Of the branches of a block."""


def incecnn(
    input_shape: Shape, num_outputs: int, *, stem: Sequence[int], branches: Sequence[int], dropout: float
) -> Architecture:
    """The architecture for images (C, H, W) of at least 8 pixels a side, with batch normalisation.

    Args:
        stem: Widths of the 3x3 convolutions before the first block.
        branches: Widths of the 1x1, the 3x3 and the 5x5 convolution of each block, one block after another.
        dropout: Its probability before the classifier.

    Raises:
        ValueError: The input is not an image, or is halved away before the last block.
    """
    nodes = [Node("input", "input")]
    top, channels = "input", input_shape[0]
    for number, width in enumerate(stem, start=1):
        name = f"stem{number}"
        nodes += conv_block_nodes(name, top, channels=(channels, width), kernel_size=3, normalised=True)
        top, channels = f"{name}_relu", width
    for block, start in enumerate(range(0, len(branches), len(_KERNELS)), start=1):
        nodes.append(Node(f"pool{block}", "max_pool", (top,), {"kernel_size": 2, "stride": 2}))
        widths = branches[start : start + len(_KERNELS)]
        joined = []
        for kernel, width in zip(_KERNELS, widths, strict=True):
            name = f"block{block}_{kernel}x{kernel}"
            nodes += conv_block_nodes(
                name, f"pool{block}", channels=(channels, width), kernel_size=kernel, normalised=True
            )
            joined.append(f"{name}_relu")
        top, channels = f"block{block}", sum(widths)
        nodes.append(Node(top, "concat", tuple(joined)))
    nodes += [
        Node("pool", "global_avg_pool", (top,)),
        Node("dropout", "dropout", ("pool",), {"probability": dropout}),
        Node("classifier", "linear", ("dropout",), {"in_features": channels, "out_features": num_outputs}),
    ]
    return Architecture(tuple(nodes), input_shape)
