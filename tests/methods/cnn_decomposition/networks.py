"""The two-convolution network of the specification's materialising example, and random trained-looking ones."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.networks.architecture import Architecture, Node
from methods.networks.graph import Network


def wave(shape: tuple[int, ...], amplitude: float, frequency: float, phase: float, offset: float) -> Tensor:
    """offset + amplitude * sin(frequency * k + phase), filled in row-major order."""
    count = torch.Size(shape).numel()
    steps = torch.arange(count, dtype=torch.float64)
    return (offset + amplitude * torch.sin(frequency * steps + phase)).view(shape)


def worked_example() -> Network:
    """Conv 3 to 4 and conv 4 to 5, each with batch normalisation, ReLU and 2x2 pooling, then 5 to 3 logits; float64."""
    nodes = [Node("input", "input")]
    top = "input"
    for index, (inputs, outputs) in enumerate(((3, 4), (4, 5))):
        sizes = {"in_channels": inputs, "out_channels": outputs, "kernel_size": 3, "padding": 1}
        nodes += [
            Node(f"conv{index}", "conv2d", (top,), sizes),
            Node(f"norm{index}", "batch_norm", (f"conv{index}",), {"features": outputs}),
            Node(f"relu{index}", "relu", (f"norm{index}",)),
            Node(f"pool{index}", "max_pool", (f"relu{index}",), {"kernel_size": 2, "stride": 2}),
        ]
        top = f"pool{index}"
    nodes += [Node("flat", "flatten", (top,)), Node("fc", "linear", ("flat",), {"in_features": 5, "out_features": 3})]
    network = Network(Architecture(tuple(nodes), (3, 4, 4))).double().eval()
    state = network.state_dict()
    for index in range(2):
        phase = 0.2 + index
        fills = {
            f"conv{index}.weight": (0.3, 0.7, phase, 0.0),
            f"conv{index}.bias": (0.1, 1.1, phase, 0.0),
            f"norm{index}.weight": (0.2, 0.9, phase, 1.0),
            f"norm{index}.bias": (0.1, 1.3, phase, 0.0),
            f"norm{index}.running_mean": (0.1, 0.5, phase, 0.0),
            f"norm{index}.running_var": (0.3, 0.8, phase, 1.0),
        }
        for name, (amplitude, frequency, at, offset) in fills.items():
            tensor = state[f"nodes.{name}"]
            tensor.copy_(wave(tuple(tensor.shape), amplitude, frequency, at, offset))
    state["nodes.fc.weight"].copy_(wave((3, 5), 0.8, 0.6, 0.2, 0.0))
    state["nodes.fc.bias"].copy_(wave((3,), 0.2, 1.0, 0.2, 0.0))
    return network
