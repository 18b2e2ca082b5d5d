"""Small plain networks for tables and small images. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from methods.networks.architecture import Architecture, Node, Shape
from methods.networks.dense_head import head_nodes


def mlp(input_shape: Shape, num_outputs: int, *, widths: Sequence[int]) -> Architecture:
    """Linear layers of these widths with ReLUs between; images are flattened."""
    nodes = [Node("input", "input")]
    top, features = "input", input_shape[0]
    if len(input_shape) == 3:
        nodes.append(Node("flatten", "flatten", ("input",)))
        top, features = "flatten", input_shape[0] * input_shape[1] * input_shape[2]
    return Architecture((*nodes, *head_nodes(top, (features, *widths, num_outputs))), input_shape)


def small_cnn(input_shape: Shape, num_outputs: int, *, channels: Sequence[int], hidden: int) -> Architecture:
    """3x3 convolutions with batch normalisation, ReLU and 2x2 pooling, then one hidden linear layer.

    Raises:
        ValueError: The input is not an image, or is halved away before the last convolution.
    """
    nodes = [Node("input", "input")]
    top, width = "input", input_shape[0]
    for number, outputs in enumerate(channels, start=1):
        settings = {"in_channels": width, "out_channels": outputs, "kernel_size": 3, "padding": 1, "bias": False}
        nodes.append(Node(f"conv{number}", "conv2d", (top,), settings))
        nodes.append(Node(f"norm{number}", "batch_norm", (f"conv{number}",), {"features": outputs}))
        nodes.append(Node(f"conv{number}_relu", "relu", (f"norm{number}",)))
        nodes.append(Node(f"pool{number}", "max_pool", (f"conv{number}_relu",), {"kernel_size": 2, "stride": 2}))
        top, width = f"pool{number}", outputs
    nodes.append(Node("flatten", "flatten", (top,)))
    shrunk = [size >> len(channels) for size in input_shape[1:]]
    features = width
    for size in shrunk:
        features *= size
    nodes.append(Node("hidden", "linear", ("flatten",), {"in_features": features, "out_features": hidden}))
    nodes.append(Node("hidden_relu", "relu", ("hidden",)))
    nodes.append(Node("classifier", "linear", ("hidden_relu",), {"in_features": hidden, "out_features": num_outputs}))
    return Architecture(tuple(nodes), input_shape)
