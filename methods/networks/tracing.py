"""A user's own `nn.Module` as a network of this project: traced into a graph of layers, with its weights.

Tracing is that of `torch.fx`. What the graph has no layer for is refused with its name and what would do, rather than
computed otherwise.

Shapes: C = channels, H, W = height and width.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from methods.networks.architecture import Architecture, Node, Shape
from methods.networks.graph import Network

_RELUS = (F.relu, torch.relu, "relu", F.relu_, torch.relu_, "relu_")
_SUMS = (operator.add, torch.add, "add", operator.iadd)
_FLATTENS = (torch.flatten, "flatten")


class NotTraceable(ValueError):
    """The module holds something that a graph of layers cannot; the message says where, what and how to mend it."""


def traced(module: nn.Module, input_shape: Shape) -> Network:
    """The module as a network with sites, which computes the same in evaluation mode.

    It may hold convolutions (grouped ones only where every channel is by itself), linear layers, batch normalisation
    with statistics, ReLUs, dropout, sums, concatenations of channels, max and average pooling, average pooling to one
    position, and flattening to vectors; as modules or as functions.

    Args:
        module: Of one input and one output, a vector for each sample. Left alone; weights are copies.
        input_shape: (C, H, W), or (D,) for tables.

    Raises:
        NotTraceable: Something else is in it, the way through it depends on the values, or a layer is used twice.
    """
    try:
        graph = fx.symbolic_trace(module).graph
    except (fx.proxy.TraceError, TypeError, RuntimeError, NotImplementedError) as error:
        raise NotTraceable(
            f"{type(module).__name__}: cannot be traced, as what it does depends on its input ({error}); write forward "
            "without conditions or loops over values"
        ) from error
    builder = _Builder(module)
    for node in graph.nodes:
        builder.place(node)
    try:
        network = Network(Architecture(tuple(builder.nodes), tuple(input_shape)))
    except ValueError as error:
        raise NotTraceable(f"{type(module).__name__}: {error}") from error
    network.load_state_dict(builder.tensors)
    _check_equal(module, network, input_shape)
    return network.train(module.training)


class _Builder:
    """Turns the nodes of a traced graph into ours, in their order."""

    def __init__(self, module: nn.Module) -> None:
        self.nodes: list[Node] = []
        self.tensors: dict[str, Tensor] = {}
        self._modules = dict(module.named_modules())
        self._name = type(module).__name__
        self._placed: dict[fx.Node, str] = {}
        self._used: set[str] = set()

    def place(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            if self.nodes:
                raise NotTraceable(f"{self._name}: takes several inputs; give it one")
            self._add(node, "input", ())
        elif node.op == "call_module":
            self._place_module(node)
        elif node.op in ("call_function", "call_method"):
            self._place_function(node)
        elif node.op != "output":
            raise NotTraceable(f"{self._name}: reads the tensor '{node.target}' by itself; keep weights in layers")
        elif not isinstance(node.args[0], fx.Node):
            raise NotTraceable(f"{self._name}: gives several outputs; give one vector of logits")

    def _place_module(self, node: fx.Node) -> None:
        target = str(node.target)
        layer = self._modules[target]
        where = f"{self._name}.{target} ({type(layer).__name__})"
        if target in self._used and any(True for _ in layer.parameters()):
            raise NotTraceable(f"{where}: is used twice; give each place a layer of its own")
        self._used.add(target)
        sources = self._sources(node, node.args)
        if isinstance(layer, nn.Identity) or (isinstance(layer, nn.Dropout) and layer.p == 0):
            self._placed[node] = sources[0]
            return
        op, settings = _layer(layer, where)
        name = self._add(node, op, sources, **settings)
        for key, tensor in layer.state_dict().items():
            self.tensors[f"nodes.{name}.{key}"] = tensor.detach().clone()

    def _place_function(self, node: fx.Node) -> None:
        target: Any = node.target
        where = f"{self._name}: {getattr(target, '__name__', target)} at '{node.name}'"
        if target in (torch.cat, torch.concat):
            parts, axis = node.args[0], node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
            if axis != 1 or not isinstance(parts, Sequence):
                raise NotTraceable(f"{where}: joins along axis {axis}; only channels, axis 1, can be joined")
            self._add(node, "concat", self._sources(node, parts))
            return
        if target in (F.dropout, "dropout"):
            raise NotTraceable(f"{where}: use the layer nn.Dropout, which is switched off in evaluation")
        if target in _RELUS:
            self._add(node, "relu", self._sources(node, node.args[:1]))
        elif target in _SUMS:
            self._add(node, "add", self._sources(node, node.args))
        elif target in _FLATTENS:
            _require(node.args[1:] in ((1,), (1, -1)), f"{where}: flatten from axis 1, as flatten(x, 1)")
            self._add(node, "flatten", self._sources(node, node.args[:1]))
        elif target in (F.max_pool2d, F.avg_pool2d):
            op = "max_pool" if target is F.max_pool2d else "avg_pool"
            given = dict(zip(("kernel_size", "stride", "padding"), node.args[1:], strict=False)) | dict(node.kwargs)
            self._add(node, op, self._sources(node, node.args[:1]), **_pool(given, where))
        elif target is F.adaptive_avg_pool2d and node.args[1] in (1, (1, 1)):
            self._add(node, "global_avg_pool", self._sources(node, node.args[:1]))
        elif target in ("view", "reshape", torch.reshape, "size"):
            raise NotTraceable(f"{where}: write flatten(x, 1), whose shape hangs on no value")
        else:
            raise NotTraceable(
                f"{where}: has no layer here; there are convolution, linear, batch norm, ReLU, dropout, sum, "
                "concatenation, pooling and flatten"
            )

    def _sources(self, node: fx.Node, values: Any) -> tuple[str, ...]:
        if not all(isinstance(value, fx.Node) for value in values):
            raise NotTraceable(f"{self._name}: '{node.name}' takes a number; only outputs of layers can be combined")
        return tuple(self._placed[value] for value in values)

    def _add(self, node: fx.Node, op: str, sources: tuple[str, ...], **settings: Any) -> str:
        """Add a layer; flattening what is one position already is no layer of ours."""
        if op == "flatten" and self.nodes[-1].op == "global_avg_pool" and sources == (self.nodes[-1].name,):
            self._placed[node] = sources[0]
            return sources[0]
        name = f"n_{node.name}" if node.name.startswith("_") else node.name
        self.nodes.append(Node(name, op, sources, settings))
        self._placed[node] = name
        return name


def _layer(layer: nn.Module, where: str) -> tuple[str, dict[str, Any]]:
    """Our op and its settings for one layer."""
    if isinstance(layer, nn.Conv2d):
        plain = layer.padding_mode == "zeros" and layer.dilation == (1, 1) and not isinstance(layer.padding, str)
        _require(plain, f"{where}: only zero padding given in numbers, and no dilation")
        grouped = layer.groups in (1, layer.in_channels) and (layer.groups == 1 or layer.out_channels == layer.groups)
        _require(grouped, f"{where}: {layer.groups} groups; only 1, or each channel by itself (depthwise)")
        return "conv2d", {
            "in_channels": layer.in_channels,
            "out_channels": layer.out_channels,
            "kernel_size": list(layer.kernel_size),
            "stride": list(layer.stride),
            "padding": list(layer.padding),
            "groups": layer.groups,
            "bias": layer.bias is not None,
        }
    if isinstance(layer, nn.Linear):
        return "linear", {
            "in_features": layer.in_features,
            "out_features": layer.out_features,
            "bias": layer.bias is not None,
        }
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        _require(layer.affine and layer.track_running_stats, f"{where}: needs scale, shift and running statistics")
        momentum = 0.1 if layer.momentum is None else layer.momentum
        return "batch_norm", {"features": layer.num_features, "eps": layer.eps, "momentum": momentum}
    if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
        op = "max_pool" if isinstance(layer, nn.MaxPool2d) else "avg_pool"
        given = {name: getattr(layer, name, None) for name in ("kernel_size", "stride", "padding", *_POOL_REFUSED)}
        return op, _pool(given, where)
    if isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1)):
        return "global_avg_pool", {}
    if isinstance(layer, nn.Dropout):
        return "dropout", {"probability": float(layer.p)}
    if isinstance(layer, nn.Flatten):
        _require((layer.start_dim, layer.end_dim) == (1, -1), f"{where}: flatten from axis 1 to the last")
    simple: dict[type[nn.Module], str] = {nn.ReLU: "relu", nn.Flatten: "flatten", nn.Sigmoid: "sigmoid"}
    for kind, op in simple.items():
        if isinstance(layer, kind):
            return op, {}
    raise NotTraceable(
        f"{where}: has no layer here; there are Conv2d, Linear, BatchNorm, ReLU, Dropout, MaxPool2d, AvgPool2d, "
        "AdaptiveAvgPool2d(1), Flatten and Sigmoid"
    )


_POOL_REFUSED = {"ceil_mode": False, "dilation": 1, "count_include_pad": True, "divisor_override": None}


def _pool(given: dict[str, Any], where: str) -> dict[str, Any]:
    for name, usual in _POOL_REFUSED.items():
        value = given.get(name)
        _require(value is None or value == usual, f"{where}: {name} = {value}; only {usual}")
    size = given["kernel_size"]
    stride = given.get("stride") or size
    sizes = {"kernel_size": size, "stride": stride, "padding": given.get("padding") or 0}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in sizes.items()}


def _require(fits: bool, message: str) -> None:
    if not fits:
        raise NotTraceable(message)


@torch.no_grad()
def _check_equal(module: nn.Module, network: Network, input_shape: Shape) -> None:
    """Compare both on random inputs, so that nothing that was overlooked goes unnoticed."""
    x = torch.rand(3, *input_shape, generator=torch.Generator().manual_seed(0))
    modes = [(one, one.training) for one in module.modules()]
    module.eval()
    try:
        expected = module(x)
    finally:
        for one, training in modes:
            one.training = training
    found = network.eval()(x)
    if found.shape != expected.shape or not torch.allclose(found, expected, atol=1e-5, rtol=1e-4):
        raise NotTraceable(
            f"{type(module).__name__}: the traced network does not compute what the module does; a layer that is used "
            "must be one of those that can be traced as it is"
        )
