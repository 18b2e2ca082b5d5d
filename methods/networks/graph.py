"""The network itself: an `nn.Module` that runs an `Architecture`.

Shapes: N = samples, C = channels, H, W = height and width, D = features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.networks.architecture import Architecture, Node, Shape
from methods.networks.dropout import Dropout
from methods.networks.sites import Keep, Site, keep_by_site, sites_of

__all__ = ["Architecture", "Keep", "Network", "Node", "Rewired", "Select", "Site", "SiteRun", "Step"]


@dataclass(frozen=True)
class SiteRun:
    """What `Network.run` saw."""

    logits: Tensor
    activations: dict[str, Tensor]
    """Of each site by name what was recorded: its output, (N, C, H, W) or (N, D), unless a function made something
    else of it. Empty unless asked for."""


class Step(NamedTuple):
    """One node at work, on the values of all nodes by their place in `Architecture.nodes`."""

    function: Callable[..., Tensor]
    sources: tuple[int, ...]
    """Places of its inputs."""
    target: int
    """Place of its output."""
    spent: tuple[int, ...]
    """Places that nobody reads afterwards."""

    def run(self, values: list[Tensor | None]) -> Tensor:
        """Put the node's output among the values, and let go of those that are spent."""
        value = self.function(*[values[source] for source in self.sources])
        values[self.target] = value
        for source in self.spent:
            values[source] = None
        return value


class Select(nn.Module):
    """Picks channels by index; index -1 gives a channel of zeros. `num_axes` counts those of one sample."""

    index: Tensor
    absent: Tensor

    def __init__(self, indices: list[int], *, num_axes: int) -> None:
        super().__init__()
        index = torch.tensor(indices)
        self.has_zeros = bool((index < 0).any())
        # Not persistent: they follow from the architecture, and move with the network to its device.
        self.register_buffer("index", index.clamp(min=0), persistent=False)
        self.register_buffer("absent", (index < 0).reshape(-1, *[1] * (num_axes - 1)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        picked = x.index_select(1, self.index)
        # Filled, not multiplied: a zero channel stays zero even where the channel it was read from is not finite.
        return picked.masked_fill(self.absent, 0.0) if self.has_zeros else picked


class Network(nn.Module):
    """Computes logits (N, num_outputs) from float inputs (N, C, H, W) or (N, D).

    All weights of a new network are zero (scales of batch normalisation one): `methods.networks.build` initialises,
    `load_state_dict` restores. Parameters come in the order of the nodes and are named `nodes.<node>.<tensor>`.
    Dropout needs a generator to train with: see `methods.networks.dropout`.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.sites: tuple[Site, ...] = sites_of(architecture)
        self.nodes = nn.ModuleDict()
        functions = {}
        for node in architecture.nodes[1:]:
            made = _make(node, architecture.shapes[node.inputs[0]])
            functions[node.name] = made
            if isinstance(made, nn.Module):
                if hasattr(self.nodes, node.name):
                    raise ValueError(f"node {node.name!r}: the name is taken by nn.ModuleDict; choose another")
                self.nodes[node.name] = made
        self._steps = _compile(architecture, functions)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The work of all nodes but the input, in order, for those who go through it piece by piece."""
        return self._steps

    def forward(self, x: Tensor) -> Tensor:
        return _run_steps(self._steps, x)

    def run(self, x: Tensor, *, keep: Keep | None = None, record: bool | Callable[[Tensor], Tensor] = False) -> SiteRun:
        """Compute logits while recording or masking sites; gradients flow through both.

        Args:
            x: As for `forward`.
            keep: Units that stay; the output of every other unit is set to zero.
            record: Return the outputs of the sites, after masking; with a function, what it makes of each as soon as
                it is computed, so that no output is kept for the recording's sake.

        Raises:
            ValueError: `keep` does not fit the sites.
        """
        kept = {} if keep is None else keep_by_site(self.sites, keep)
        site_names = {site.name for site in self.sites}
        values: list[Tensor | None] = [x] * (len(self._steps) + 1)
        activations: dict[str, Tensor] = {}
        target = 0
        for node, (function, sources, target, spent) in zip(self.architecture.nodes[1:], self._steps, strict=True):
            value = function(*[values[source] for source in sources])
            if node.name in kept:
                mask = kept[node.name].to(value.device).reshape(-1, *[1] * (value.dim() - 2))
                value = value.masked_fill(~mask, 0.0)
            if record and node.name in site_names:
                activations[node.name] = record(value) if callable(record) else value
            values[target] = value
            for source in spent:
                values[source] = None
        logits = values[target]
        assert logits is not None
        return SiteRun(logits, activations)


class Rewired(nn.Module):
    """A network that runs other layers in place of some of its own; the rest it shares with the original.

    It is for running only: it has no architecture that could be stored.

    Args:
        network: Left alone.
        layers: By the name of the node, a layer that takes and gives the same shapes.

    Raises:
        ValueError: The network has no layer of such a name.
    """

    def __init__(self, network: Network, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        unknown = [name for name in layers if name not in network.nodes]
        if unknown:
            raise ValueError(f"rewired: the network has no layer {unknown[0]!r}; it has: {', '.join(network.nodes)}")
        self.nodes = nn.ModuleDict({name: layers.get(name, layer) for name, layer in network.nodes.items()})
        names = [node.name for node in network.architecture.nodes[1:]]
        self._steps = [
            step._replace(function=layers.get(name, step.function))
            for name, step in zip(names, network.steps, strict=True)
        ]
        self.train(network.training)

    def forward(self, x: Tensor) -> Tensor:
        return _run_steps(self._steps, x)


def _compile(architecture: Architecture, functions: dict[str, Callable[..., Tensor]]) -> tuple[Step, ...]:
    place = {node.name: position for position, node in enumerate(architecture.nodes)}
    last_reader = {name: node.name for node in architecture.nodes for name in node.inputs}
    steps: list[Step] = []
    for node in architecture.nodes[1:]:
        spent = tuple(place[name] for name in dict.fromkeys(node.inputs) if last_reader[name] == node.name)
        steps.append(Step(functions[node.name], tuple(place[name] for name in node.inputs), place[node.name], spent))
    return tuple(steps)


def _run_steps(steps: Sequence[Step], x: Tensor) -> Tensor:
    # As `Step.run`, written out: this is the loop that all training and evaluation goes through.
    values: list[Tensor | None] = [x] * (len(steps) + 1)
    target = 0
    for function, sources, target, spent in steps:
        values[target] = function(*[values[source] for source in sources])
        for source in spent:
            values[source] = None
    logits = values[target]
    assert logits is not None
    return logits


def _make(node: Node, shape: Shape) -> Callable[..., Tensor]:
    """The callable of a node, whose first input has this shape. Module-level functions only: networks get pickled."""
    settings = node.settings
    if node.op == "conv2d":
        channels, outputs = settings["in_channels"], settings["out_channels"]
        kernel, stride, padding = (node.pair(key) for key in ("kernel_size", "stride", "padding"))
        groups, bias = settings["groups"], settings["bias"]
        return Conv2d(channels, outputs, kernel, stride, padding, 1, groups, bias)
    if node.op == "linear":
        return Linear(settings["in_features"], settings["out_features"], settings["bias"])
    if node.op == "batch_norm":
        kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
        return kind(settings["features"], eps=settings["eps"], momentum=settings["momentum"])
    if node.op == "dropout":
        return Dropout(settings["probability"])
    if node.op == "select":
        return Select(settings["indices"], num_axes=len(shape))
    if node.op in ("max_pool", "avg_pool"):
        kernel, stride, padding = (node.pair(key) for key in ("kernel_size", "stride", "padding"))
        pool = _max_pool if node.op == "max_pool" else _avg_pool
        return partial(pool, kernel=kernel, stride=stride, padding=padding)
    plain: dict[str, Callable[..., Tensor]] = {
        "relu": F.relu,
        "sigmoid": torch.sigmoid,
        "softmax": partial(torch.softmax, dim=1),
        "add": _add,
        "concat": _concat,
        "global_avg_pool": _global_avg_pool,
        "flatten": _flatten,
    }
    return plain[node.op]


class Conv2d(nn.Conv2d):
    """Zero at first: PyTorch's own initialisation takes long and draws from the global generator."""

    def reset_parameters(self) -> None:
        _zero(self)


class Linear(nn.Linear):
    """Zero at first, as the convolutions."""

    def reset_parameters(self) -> None:
        _zero(self)


def _zero(module: nn.Module) -> None:
    for parameter in module.parameters(recurse=False):
        nn.init.zeros_(parameter)


def _add(*summands: Tensor) -> Tensor:
    total = summands[0] + summands[1]
    for summand in summands[2:]:
        total = total + summand
    return total


def _concat(*parts: Tensor) -> Tensor:
    return torch.cat(parts, dim=1)


def _global_avg_pool(x: Tensor) -> Tensor:
    return x.mean(dim=(2, 3))


def _flatten(x: Tensor) -> Tensor:
    return x.flatten(1)


def _max_pool(x: Tensor, *, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    return F.max_pool2d(x, kernel, stride, padding)


def _avg_pool(x: Tensor, *, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    return F.avg_pool2d(x, kernel, stride, padding)
