"""ResCNN of the papers on decomposition: twelve convolutions, three residual sums. Imports no torch.

Sums come after ReLU, unlike those of He et al.: what two ReLUs put out is added, and no ReLU follows. So both have to
keep the same units if channels are to disappear from the sum (see `methods.networks.ties`).
GradSplitter's (Qi et al., arXiv 2311.04438) has batch normalisation, CNNSplitter's (arXiv 2209.06116) has none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from methods.networks.architecture import Architecture, Node, Shape
from methods.networks.conv_block import conv_block_nodes

_STAGE_OF_CONV = (0, 1, 1, 1, 2, 3, 3, 3, 3, 3, 3, 3)
_POOLED = (1, 4, 5, 8, 9)
_ADDED = {3: 1, 7: 5, 11: 9}
"""Convolutions, numbered from 0 as in the papers, with the one whose pooled output is added to theirs."""


def rescnn(
    input_shape: Shape, num_outputs: int, *, stages: Sequence[int], normalised: bool, dropout: float
) -> Architecture:
    """The architecture for images (C, H, W) of at least 32 pixels a side.

    Args:
        stages: The four widths: of convolution 0, of 1 to 3, of 4, and of 5 to 11.
        normalised: Whether batch normalisation follows each convolution.
        dropout: Its probability before the classifier.

    Raises:
        ValueError: The input is not an image, or is halved away before its end.
    """
    nodes = [Node("input", "input")]
    tops: list[str] = []
    top, channels = "input", input_shape[0]
    for number, stage in enumerate(_STAGE_OF_CONV):
        sizes = (channels, stages[stage])
        nodes += conv_block_nodes(f"conv{number}", top, channels=sizes, kernel_size=3, normalised=normalised)
        top, channels = f"conv{number}_relu", stages[stage]
        if number in _POOLED:
            pool = f"pool{_POOLED.index(number) + 1}"
            nodes.append(Node(pool, "max_pool", (top,), {"kernel_size": 2, "stride": 2}))
            top = pool
        if number in _ADDED:
            nodes.append(Node(f"sum{number}", "add", (top, tops[_ADDED[number]])))
            top = f"sum{number}"
        tops.append(top)
    features = channels * math.prod(size >> len(_POOLED) for size in input_shape[1:])
    nodes += [
        Node("flatten", "flatten", (top,)),
        Node("dropout", "dropout", ("flatten",), {"probability": dropout}),
        Node("classifier", "linear", ("dropout",), {"in_features": features, "out_features": num_outputs}),
    ]
    return Architecture(tuple(nodes), input_shape)
