"""Keep-sets become physically smaller networks: one mechanism for all methods that remove units or outputs.

Each channel of each node is either *present* in the cut network or not (`methods.networks.presence`). Where two readers
of a node want different channels, as on both sides of an identity shortcut, a `select` node adapts them.

The public MODA code departs from this where a depthwise convolution keeps no channel that the site before it keeps: it
then feeds the first channel of the convolution. Here all its channels read zeros, as in the masked network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import count

import torch
from torch import Tensor, nn

from methods.networks.architecture import Architecture, Node
from methods.networks.folding import fold_batch_norm
from methods.networks.graph import Network
from methods.networks.liveness import dead_units, kind_of_groups
from methods.networks.presence import present_channels
from methods.networks.restore import restore
from methods.networks.sites import Keep, keep_by_site

__all__ = ["Keep", "dead_units", "deploy", "extract", "fold_batch_norm"]


@torch.no_grad()
def extract(network: Network, keep: Keep, outputs: Sequence[int] | None = None) -> Network:
    """The smaller network that computes exactly what `network` computes when all other units put out zero.

    Sites keep their names; a site of which nothing is needed is gone. Weights are copies with the same type, device
    and mode. The equality holds in both modes: batch statistics are taken channel by channel. Only dropout draws
    anew in training, as fewer values draw fewer numbers, and needs a generator of its own.

    Args:
        network: Left alone.
        keep: The units that stay, see `methods.networks.sites.Keep`.
        outputs: Indices of the logits that stay, in the order wanted; None: all.

    Raises:
        ValueError: `keep` or `outputs` do not fit the network, or a convolution has groups that cannot be cut.
    """
    architecture = network.architecture
    kept = {name: mask.cpu() for name, mask in keep_by_site(network.sites, keep).items()}
    order = _checked_outputs(outputs, architecture.num_outputs)
    present = _present(architecture, kept, order)
    last = architecture.nodes[-1]
    cutter = _Cutter(network, present)
    for node in architecture.nodes:
        cutter.place(node)
    cutter.channels_of(last.name, order)
    return restore(Architecture(tuple(cutter.nodes), architecture.input_shape), cutter.tensors, like=network)


def deploy(network: Network) -> Network:
    """The form to store and serve: batch normalisation folded in, dropout left out, idle units cut, evaluation mode.

    In evaluation mode it computes what `network` computes, up to rounding.
    """
    folded = fold_batch_norm(network).eval()
    return extract(folded, dead_units(folded))


def _checked_outputs(outputs: Sequence[int] | None, num_outputs: int) -> list[int]:
    order = list(range(num_outputs)) if outputs is None else [int(index) for index in outputs]
    if not order:
        raise ValueError("outputs is empty; name at least one logit, or pass None for all")
    beyond = [index for index in order if not 0 <= index < num_outputs]
    if beyond:
        raise ValueError(f"outputs: {beyond[0]} is not among the logits 0 to {num_outputs - 1} of the network")
    if len(set(order)) != len(order):
        raise ValueError(f"outputs: {order} names a logit twice; name each once")
    return order


def _present(architecture: Architecture, kept: Mapping[str, Tensor], order: list[int]) -> dict[str, list[int]]:
    """For each node the channels that stay; those of a linear layer at the end in the order wanted."""
    outputs_1K = torch.zeros(1, architecture.num_outputs, dtype=torch.bool)
    outputs_1K[0, order] = True
    masks = present_channels(architecture, {name: mask[None] for name, mask in kept.items()}, outputs_1K)
    present: dict[str, list[int]] = {name: mask_1C[0].nonzero().flatten().tolist() for name, mask_1C in masks.items()}
    last = architecture.nodes[-1]
    if last.op == "linear":
        present[last.name] = order
    return present


class _Cutter:
    """Builds the nodes and tensors of the cut network, in order."""

    def __init__(self, network: Network, present: Mapping[str, list[int]]) -> None:
        self.nodes: list[Node] = []
        self.tensors: dict[str, Tensor] = {}
        self._network = network
        self._old = {node.name: node for node in network.architecture.nodes}
        self._shapes = network.architecture.shapes
        self._present = present
        self._placed: dict[str, tuple[str, list[int]]] = {}
        """For each old node with anything present: the new node, and which old channel each of its channels is."""

    def place(self, node: Node) -> None:
        """Add the counterpart of an old node, if anything of it is present."""
        channels = self._present[node.name]
        if node.op == "input":
            self.nodes.append(node)
            self._placed[node.name] = (node.name, list(range(self._shapes[node.name][0])))
        elif channels:
            self._placed[node.name] = (self._counterpart(node, channels), channels)

    def channels_of(self, name: str, channels: list[int]) -> str:
        """A new node that holds exactly these channels of an old one; absent ones, and -1, are zero."""
        source, layout = self._placed.get(name) or (self._of_same_size(name), [])
        if layout == channels:
            return source
        position = {channel: index for index, channel in enumerate(layout)}
        return self._add(f"{name}_select", "select", source, indices=[position.get(c, -1) for c in channels])

    def _counterpart(self, node: Node, channels: list[int]) -> str:
        if node.op in ("conv2d", "linear"):
            depthwise = node.op == "conv2d" and kind_of_groups(node) == "depthwise"
            return self._cut_depthwise(node, channels) if depthwise else self._cut_layer(node, channels)
        if node.op == "batch_norm":
            settings = node.settings | {"features": len(channels)}
            new = self._add(node.name, node.op, self.channels_of(node.inputs[0], channels), **settings)
            for key, tensor in self._network.nodes[node.name].state_dict().items():
                self.tensors[f"nodes.{new}.{key}"] = _taken(tensor, channels) if tensor.dim() else tensor.clone()
            return new
        if node.op in ("add", "concat"):
            return self._joined(node, channels)
        if node.op == "select":
            return self.channels_of(node.inputs[0], [node.settings["indices"][channel] for channel in channels])
        if node.op == "flatten":
            size = math.prod(self._shapes[node.inputs[0]][1:])
            source = self.channels_of(node.inputs[0], [channel // size for channel in channels[::size]])
        else:
            source = self.channels_of(node.inputs[0], channels)
        return self._add(node.name, node.op, source, **node.settings)

    def _cut_layer(self, node: Node, channels: list[int]) -> str:
        layer = self._network.nodes[node.name]
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        inputs, outputs = ("in_channels", "out_channels") if node.op == "conv2d" else ("in_features", "out_features")
        settings = node.settings | {outputs: len(channels)}
        if node.inputs[0] in self._placed:
            source, layout = self._placed[node.inputs[0]]
            settings |= {inputs: len(layout)}
            weight = _taken(_taken(layer.weight, channels), layout, dim=1)
        else:
            # Nothing but zeros comes in, so only the bias goes out: one weight per output reads a channel of zeros.
            source = self._add(f"{node.name}_select", "select", self._of_same_size(node.name), indices=[-1])
            settings |= {inputs: 1}
            if node.op == "conv2d":
                settings |= {"kernel_size": 1, "stride": 1, "padding": 0}
            weight = layer.weight.new_zeros(len(channels), 1, *[1] * (layer.weight.dim() - 2))
        new = self._add(node.name, node.op, source, **settings)
        self._store(new, weight, layer.bias, channels)
        return new

    def _cut_depthwise(self, node: Node, channels: list[int]) -> str:
        layer = self._network.nodes[node.name]
        assert isinstance(layer, nn.Conv2d)
        counts = dict.fromkeys(("in_channels", "out_channels", "groups"), len(channels))
        source = self.channels_of(node.inputs[0], channels)
        new = self._add(node.name, node.op, source, **node.settings | counts)
        self._store(new, _taken(layer.weight, channels), layer.bias, channels)
        return new

    def _joined(self, node: Node, channels: list[int]) -> str:
        """A sum or concatenation without the inputs of which nothing is present."""
        sources = []
        start = 0
        for name in node.inputs:
            wanted = channels
            if node.op == "concat":
                stop = start + self._shapes[name][0]
                wanted = [channel - start for channel in channels if start <= channel < stop]
                start = stop
            if name in self._placed and not set(wanted).isdisjoint(self._placed[name][1]):
                sources.append(self.channels_of(name, wanted))
        return self._add(node.name, node.op, *sources) if len(sources) > 1 else sources[0]

    def _of_same_size(self, name: str) -> str:
        """Any new node with the height and width of an old one, of which nothing need be present."""
        if name in self._placed:
            return self._placed[name][0]
        node = self._old[name]
        before = self._of_same_size(node.inputs[0])
        if self._shapes[name][1:] == self._shapes[node.inputs[0]][1:]:
            return before
        source = self._add(f"{name}_select", "select", before, indices=[-1])
        if node.op != "conv2d":
            return self._add(f"{name}_zero", node.op, source, **node.settings)
        sizes = {key: node.settings[key] for key in ("kernel_size", "stride", "padding")}
        if all(
            2 * padding <= kernel
            for padding, kernel in zip(node.pair("padding"), node.pair("kernel_size"), strict=True)
        ):
            return self._add(f"{name}_zero", "max_pool", source, **sizes)
        new = self._add(f"{name}_zero", "conv2d", source, in_channels=1, out_channels=1, bias=False, **sizes)
        weight = self._network.nodes[name].weight
        assert isinstance(weight, Tensor)
        self._store(new, weight.new_zeros(1, 1, *weight.shape[2:]), None, [])
        return new

    def _add(self, name: str, op: str, *sources: str, **settings: object) -> str:
        # Names of old nodes stay theirs, also when such a node comes later.
        taken = {node.name for node in self.nodes}
        if name in taken or (name in self._old and self._old[name].op != op):
            numbered = (f"{name}{number}" for number in count(2))
            name = next(other for other in numbered if other not in taken and other not in self._old)
        self.nodes.append(Node(name, op, sources, dict(settings)))
        return name

    def _store(self, new: str, weight: Tensor, bias: Tensor | None, channels: list[int]) -> None:
        self.tensors[f"nodes.{new}.weight"] = weight
        if bias is not None:
            self.tensors[f"nodes.{new}.bias"] = _taken(bias, channels)


def _taken(tensor: Tensor, indices: list[int], *, dim: int = 0) -> Tensor:
    taken = tensor.detach().index_select(dim, torch.tensor(indices, device=tensor.device))
    if tensor.dim() == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last):
        taken = taken.contiguous(memory_format=torch.channels_last)
    return taken
