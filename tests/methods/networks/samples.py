"""Networks for tests: those of the catalog in small, hand-built graphs, and graphs drawn by chance."""

from __future__ import annotations

import random

import torch
from torch import nn

from methods.networks.architecture import Architecture, Node
from methods.networks.build import build_network, initialise
from methods.networks.catalog import network_names
from methods.networks.dropout import switch_off_dropout
from methods.networks.graph import Network


def conv(name: str, source: str, channels: tuple[int, int], **settings: object) -> Node:
    """A same-size 3x3 convolution, unless told otherwise."""
    plain: dict[str, object] = {"kernel_size": 3, "padding": 1, "bias": False}
    return Node(name, "conv2d", (source,), plain | {"in_channels": channels[0], "out_channels": channels[1]} | settings)


def norm(name: str, source: str, features: int) -> Node:
    return Node(name, "batch_norm", (source,), {"features": features})


def linear(name: str, source: str, features: tuple[int, int]) -> Node:
    return Node(name, "linear", (source,), {"in_features": features[0], "out_features": features[1]})


def relu(name: str, source: str) -> Node:
    return Node(name, "relu", (source,))


def inception() -> Architecture:
    """Two branches and a pooled one, concatenated, then flattened."""
    nodes = (
        Node("input", "input"),
        conv("c1", "input", (2, 6)),
        norm("n1", "c1", 6),
        relu("r1", "n1"),
        conv("left", "r1", (6, 4), kernel_size=[1, 3], padding=[0, 1], bias=True),
        relu("left_relu", "left"),
        conv("right", "r1", (6, 5), kernel_size=1, padding=0),
        norm("right_norm", "right", 5),
        relu("right_relu", "right_norm"),
        Node("pooled", "avg_pool", ("r1",), {"kernel_size": 3, "stride": 1, "padding": 1}),
        Node("joined", "concat", ("left_relu", "pooled", "right_relu")),
        Node("shrunk", "max_pool", ("joined",), {"kernel_size": 3, "stride": 2, "padding": 1}),
        Node("flat", "flatten", ("shrunk",)),
        linear("hidden", "flat", (15 * 9, 7)),
        norm("hidden_norm", "hidden", 7),
        relu("hidden_relu", "hidden_norm"),
        linear("out", "hidden_relu", (7, 5)),
    )
    return Architecture(nodes, (2, 6, 6))


def mobile() -> Architecture:
    """An inverted residual with a depthwise convolution, and a linear bottleneck without ReLU."""
    nodes = (
        Node("input", "input"),
        conv("c1", "input", (3, 5)),
        norm("n1", "c1", 5),
        conv("expand", "n1", (5, 8), kernel_size=1, padding=0),
        norm("expand_norm", "expand", 8),
        relu("expand_relu", "expand_norm"),
        conv("depth", "expand_relu", (8, 8), groups=8),
        norm("depth_norm", "depth", 8),
        relu("depth_relu", "depth_norm"),
        conv("project", "depth_relu", (8, 5), kernel_size=1, padding=0),
        norm("project_norm", "project", 5),
        Node("sum", "add", ("n1", "project_norm")),
        conv("wide", "sum", (5, 6), kernel_size=1, padding=0, bias=True),
        relu("wide_relu", "wide"),
        conv("shrink", "wide_relu", (6, 6), groups=6, stride=2, bias=True),
        relu("shrink_relu", "shrink"),
        Node("pool", "global_avg_pool", ("shrink_relu",)),
        linear("out", "pool", (6, 4)),
    )
    return Architecture(nodes, (3, 6, 6))


def preactivated() -> Architecture:
    """Normalisation after a concatenation that skips ReLUs, a select, and two ReLUs of one node."""
    nodes = (
        Node("input", "input"),
        conv("c1", "input", (1, 4), bias=True),
        relu("r1", "c1"),
        norm("n2", "r1", 4),
        relu("r2", "n2"),
        conv("c2", "r2", (4, 3)),
        Node("grown", "concat", ("r1", "c2")),
        norm("n3", "grown", 7),
        relu("r3", "n3"),
        relu("r3_again", "grown"),
        Node("both", "add", ("r3", "r3_again", "grown")),
        Node("some", "select", ("both",), {"indices": [6, -1, 0, 2, 2]}),
        Node("shrunk", "avg_pool", ("some",), {"kernel_size": 2, "stride": 2}),
        conv("c4", "shrunk", (5, 3), stride=2),
        relu("r4", "c4"),
        Node("flat", "flatten", ("r4",)),
        linear("out", "flat", (12, 3)),
    )
    return Architecture(nodes, (1, 8, 8))


def dropped(name: str, source: str, *, probability: float = 0.5) -> Node:
    return Node(name, "dropout", (source,), {"probability": probability})


def tied() -> Architecture:
    """Two sums that tie three sites, through pooling, normalisation, a depthwise convolution and dropout."""
    nodes = (
        Node("input", "input"),
        conv("c1", "input", (2, 6), bias=True),
        relu("r1", "c1"),
        Node("shrunk", "max_pool", ("r1",), {"kernel_size": 2, "stride": 2}),
        conv("c2", "shrunk", (6, 5), bias=True),
        dropped("inner_dropout", "c2"),
        norm("n2", "inner_dropout", 5),
        relu("r2", "n2"),
        conv("c3", "r2", (5, 6), bias=True),
        relu("r3", "c3"),
        norm("n3", "r3", 6),
        Node("first_sum", "add", ("shrunk", "n3")),
        conv("c4", "first_sum", (6, 6)),
        relu("r4", "c4"),
        conv("depth", "r4", (6, 6), groups=6),
        dropped("branch_dropout", "depth", probability=0.25),
        Node("second_sum", "add", ("first_sum", "branch_dropout", "c4")),
        Node("pool", "global_avg_pool", ("second_sum",)),
        dropped("head_dropout", "pool"),
        linear("hidden", "head_dropout", (6, 4)),
        relu("hidden_relu", "hidden"),
        linear("out", "hidden_relu", (4, 3)),
    )
    return Architecture(nodes, (2, 6, 6))


def answering() -> Architecture:
    """Probabilities of one branch and a score of another between 0 and 1, weighed against each other."""
    nodes = (
        Node("input", "input"),
        conv("c1", "input", (2, 5), bias=True),
        relu("r1", "c1"),
        Node("pool", "global_avg_pool", ("r1",)),
        linear("logits", "pool", (5, 4)),
        Node("probabilities", "softmax", ("logits",)),
        conv("c2", "input", (2, 3), bias=True),
        relu("r2", "c2"),
        Node("squeezed", "sigmoid", ("r2",)),
        Node("flat", "flatten", ("squeezed",)),
        linear("score", "flat", (27, 1)),
        Node("certainty", "sigmoid", ("score",)),
        Node("joined", "concat", ("probabilities", "certainty")),
        linear("out", "joined", (5, 4)),
    )
    return Architecture(nodes, (2, 3, 3))


HAND_BUILT = {
    "answering": answering,
    "inception": inception,
    "mobile": mobile,
    "preactivated": preactivated,
    "tied": tied,
}


def drawn_by_chance(seed: int) -> Architecture:
    """A graph of 6 to 16 layers of any op, each reading what was made before."""
    draw = random.Random(seed)
    nodes = [Node("input", "input")]
    shapes: dict[str, tuple[int, ...]] = {"input": (draw.randint(1, 3), 6, 6)}
    input_shape = shapes["input"]

    def put(node: Node, shape: tuple[int, ...]) -> None:
        nodes.append(node)
        shapes[node.name] = shape

    for number in range(draw.randint(6, 16)):
        name = f"v{number}"
        source = draw.choice(list(shapes)[-4:])
        channels, height, width = shapes[source]
        kind = draw.choice(
            ["conv2d", "conv2d", "depthwise", "batch_norm", "relu", "relu", "add", "concat", "pool", "select"]
        )
        peers = [other for other, shape in shapes.items() if shape[1:] == (height, width)]
        if kind == "conv2d":
            stride = draw.choice([1, 1, 1, 2])
            outputs, bias = draw.randint(1, 5), draw.random() < 0.5
            shape = (outputs, (height - 1) // stride + 1, (width - 1) // stride + 1)
            put(conv(name, source, (channels, outputs), stride=stride, bias=bias), shape)
        elif kind == "depthwise":
            put(conv(name, source, (channels, channels), groups=channels, bias=draw.random() < 0.5), shapes[source])
        elif kind == "batch_norm":
            put(norm(name, source, channels), shapes[source])
        elif kind == "relu":
            put(relu(name, source), shapes[source])
        elif kind == "add":
            same = [other for other in peers if shapes[other] == shapes[source]]
            put(Node(name, "add", (source, draw.choice(same))), shapes[source])
        elif kind == "concat":
            other = draw.choice(peers)
            put(Node(name, "concat", (source, other)), (channels + shapes[other][0], height, width))
        elif kind == "pool" and height > 2:
            settings = {"kernel_size": 3, "stride": 2, "padding": 1}
            shape = (channels, (height - 1) // 2 + 1, (width - 1) // 2 + 1)
            put(Node(name, draw.choice(["max_pool", "avg_pool"]), (source,), settings), shape)
        elif kind == "select":
            indices = [draw.randint(-1, channels - 1) for _ in range(draw.randint(1, 5))]
            put(Node(name, "select", (source,), {"indices": indices}), (len(indices), height, width))
    read = {name for node in nodes for name in node.inputs}
    ends = [name for name in shapes if name not in read]
    features = 0
    flat = []
    for end in ends:
        op = draw.choice(["flatten", "global_avg_pool"])
        nodes.append(Node(f"{end}_flat", op, (end,)))
        channels, height, width = shapes[end]
        features += channels * (height * width if op == "flatten" else 1)
        flat.append(f"{end}_flat")
    if len(flat) > 1:
        nodes.append(Node("joined", "concat", tuple(flat)))
    nodes += [linear("hidden", nodes[-1].name, (features, 4)), relu("hidden_relu", "hidden")]
    nodes.append(linear("out", "hidden_relu", (4, 3)))
    return Architecture(tuple(nodes), input_shape)


def disturbed(network: Network, seed: int) -> Network:
    """The network with random scales and biases, and with statistics near those of its inputs, as after training.

    With statistics drawn at will, signals would fade from layer to layer, until logits of deep networks depend on
    their biases alone.
    """
    generator = torch.Generator().manual_seed(seed)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    mode = network.training
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if tensor.dim() == 1:
                tensor.normal_(0.5 if "norm" in name and name.endswith("weight") else 0.0, 0.5, generator=generator)
        for norm in norms:
            norm.momentum = 1.0
        network.train()
        switch_off_dropout(network)
        network(random_inputs(network, seed=seed, samples=16))
        for norm in norms:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.momentum = 0.1
            shift = torch.randn(norm.num_features, generator=generator)
            norm.running_mean += 0.2 * shift * norm.running_var.sqrt()
            # A channel that hardly varies among so few samples would be blown up for others.
            norm.running_var.clamp_(min=0.1 * norm.running_var.mean().item())
            norm.running_var *= torch.empty(norm.num_features).uniform_(0.5, 2.0, generator=generator)
    return network.train(mode)


SMALLEST_SIDES = {
    "lenet5": 16,
    "vgg16": 32,
    "vgg16_512": 32,
    "vgg19_bn": 16,
    "simcnn_cnnsplitter": 32,
    "simcnn_gradsplitter": 32,
    "rescnn_cnnsplitter": 32,
    "rescnn_gradsplitter": 32,
    "incecnn_gradsplitter": 8,
}
"""Of images that a network takes, in pixels; 1 for the others."""

_NARROW = {
    "lenet5": 0.5,
    "resnet18": 1 / 16,
    "vgg16": 1 / 16,
    "vgg16_512": 1 / 16,
    "mobilenet": 1 / 8,
    "simcnn_cnnsplitter": 1 / 16,
    "simcnn_gradsplitter": 1 / 16,
    "rescnn_cnnsplitter": 1 / 16,
    "rescnn_gradsplitter": 1 / 16,
    "incecnn_gradsplitter": 1 / 16,
}
"""Widths at which these networks have about as many weights as the others at a quarter."""


def small_input(name: str) -> tuple[int, ...]:
    """A shape that a network of the catalog takes: of a table for `mlp`, else of the smallest usual images."""
    side = SMALLEST_SIDES.get(name, 8)
    return (6,) if name == "mlp" else (1, side, side)


def sample_network(name: str, *, seed: int = 0) -> Network:
    """A disturbed network in evaluation mode: a small one of the catalog, a hand-built one, or `chance<seed>`."""
    if name in network_names():
        width = _NARROW.get(name, 0.25)
        network = build_network(name, input_shape=small_input(name), num_outputs=5, width=width, seed=seed)
    else:
        architecture = drawn_by_chance(int(name[6:])) if name.startswith("chance") else HAND_BUILT[name]()
        network = Network(architecture)
    initialise(network, seed=seed)  # without the tiny classifier weights of the residual networks
    return disturbed(network, seed).eval()


def random_inputs(network: Network, *, seed: int, samples: int = 3, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, *network.architecture.input_shape, generator=generator).to(dtype)


def random_keep(network: Network, *, seed: int) -> dict[str, torch.Tensor]:
    """For each site a random share of its units, sometimes none, sometimes all, sometimes the site left out."""
    generator = torch.Generator().manual_seed(seed)
    keep = {}
    for site in network.sites:
        share = torch.rand((), generator=generator).item() * 1.6 - 0.3
        if torch.rand((), generator=generator).item() > 0.05:
            keep[site.name] = torch.rand(site.units, generator=generator) < share
    return keep


def random_keeps(network: Network, *, rows: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Keep-sets by site (rows, units), the last without any unit, and logits to keep (rows, outputs), at least one."""
    everything = {site.name: torch.ones(site.units, dtype=torch.bool) for site in network.sites}
    keeps = [everything | random_keep(network, seed=seed) for seed in range(rows - 1)]
    keeps.append({name: ~mask for name, mask in everything.items()})
    generator = torch.Generator().manual_seed(0)
    outputs = torch.rand(rows, network.architecture.num_outputs, generator=generator) < 0.4
    outputs[:, 0] |= ~outputs.any(dim=1)
    return {name: torch.stack([keep[name] for keep in keeps]) for name in everything}, outputs
