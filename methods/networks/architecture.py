"""A network as data: a small graph of layers that goes to JSON and back. Imports no torch.

Shapes leave out the batch: (C, H, W) for images, (D,) for vectors. The first axis counts *channels*, also of a vector.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from methods.json_value import Json

Shape = tuple[int, ...]

FORMAT = 1
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

_SETTINGS: dict[str, tuple[tuple[str, ...], dict[str, Json]]] = {
    "input": ((), {}),
    "conv2d": (
        ("in_channels", "out_channels", "kernel_size"),
        {"stride": 1, "padding": 0, "groups": 1, "bias": True},
    ),
    "linear": (("in_features", "out_features"), {"bias": True}),
    "batch_norm": (("features",), {"eps": 1e-5, "momentum": 0.1}),
    "relu": ((), {}),
    "sigmoid": ((), {}),
    "softmax": ((), {}),
    "dropout": (("probability",), {}),
    "add": ((), {}),
    "concat": ((), {}),
    "max_pool": (("kernel_size", "stride"), {"padding": 0}),
    "avg_pool": (("kernel_size", "stride"), {"padding": 0}),
    "global_avg_pool": ((), {}),
    "flatten": ((), {}),
    "select": (("indices",), {}),
}
"""For each op: settings that must be given, and those with a default."""

OPS = tuple(_SETTINGS)


@dataclass(frozen=True)
class Node:
    """One layer: what it computes and from which earlier nodes.

    `settings` are completed with their defaults. Sizes are an int, or a list of two for height and width.
    `select` lists one source channel for each of its outputs, -1 for a channel of zeros.
    `avg_pool` counts padded zeros as values, as PyTorch does by default.
    `softmax` takes a vector; `sigmoid` anything. Neither is a site: their outputs are never 0.
    `dropout` sets values to zero in training, each with this probability, and divides the others by the rest of it.
    """

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    settings: dict[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        defaults = _SETTINGS[self.op][1] if self.op in _SETTINGS else {}
        given = {key: list(value) if isinstance(value, tuple) else value for key, value in self.settings.items()}
        object.__setattr__(self, "settings", defaults | given)

    def pair(self, key: str) -> tuple[int, int]:
        """A size setting as (height, width)."""
        value = self.settings[key]
        return (value[0], value[1]) if isinstance(value, list) else (value, value)


@dataclass(frozen=True)
class Architecture:
    """A topologically ordered graph with one input (the first node) and one output (the last, a vector of logits).

    Raises:
        ValueError: The graph makes no sense; the message names the node at fault.
    """

    nodes: tuple[Node, ...]
    input_shape: Shape
    shapes: dict[str, Shape] = field(init=False, repr=False, compare=False)
    """Shape of what each node puts out, without the batch."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shapes", _infer_shapes(self.nodes, self.input_shape))

    @property
    def num_outputs(self) -> int:
        return self.shapes[self.nodes[-1].name][0]

    def num_readers(self) -> dict[str, int]:
        """How often each node is read by later ones."""
        counts = {node.name: 0 for node in self.nodes}
        for node in self.nodes:
            for name in node.inputs:
                counts[name] += 1
        return counts

    def to_json(self) -> dict[str, Json]:
        return {
            "format": FORMAT,
            "input_shape": list(self.input_shape),
            "nodes": [
                {"name": node.name, "op": node.op, "inputs": list(node.inputs), "settings": dict(node.settings)}
                for node in self.nodes
            ],
        }

    @classmethod
    def from_json(cls, data: Json) -> Architecture:
        """Read what `to_json` wrote.

        Raises:
            ValueError: Not such a document, or a graph that makes no sense.
        """
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise ValueError(f"not an architecture of format {FORMAT}; it must come from Architecture.to_json")
        try:
            nodes = tuple(
                Node(str(entry["name"]), str(entry["op"]), tuple(map(str, entry["inputs"])), dict(entry["settings"]))
                for entry in data["nodes"]
            )
            input_shape = tuple(data["input_shape"])
        except (KeyError, TypeError, ValueError) as problem:
            raise ValueError(f"damaged architecture: {type(problem).__name__} at {problem}") from problem
        return cls(nodes, input_shape)


def _infer_shapes(nodes: Sequence[Node], input_shape: Shape) -> dict[str, Shape]:
    if len(input_shape) not in (1, 3) or not all(_is_count(size) for size in input_shape):
        raise ValueError(f"input shape {input_shape} is neither (C, H, W) nor (D,) with sizes of at least 1")
    if len(nodes) < 2:
        raise ValueError("an architecture needs an input and at least one layer")
    shapes: dict[str, Shape] = {}
    used: set[str] = set()
    for position, node in enumerate(nodes):
        if not _NAME.fullmatch(node.name) or node.name in shapes:
            raise ValueError(f"node {node.name!r}: names are unique, of letters, digits and _, starting with a letter")
        if (node.op == "input") != (position == 0):
            raise ValueError(f"node {node.name!r}: the first node, and no other, has the op 'input'")
        missing = [name for name in node.inputs if name not in shapes]
        if missing:
            raise ValueError(f"node {node.name!r}: input {missing[0]!r} is not an earlier node")
        _check_settings(node)
        try:
            inputs = [shapes[name] for name in node.inputs] if position else [input_shape]
            shapes[node.name] = _SHAPE_RULES[node.op](node, inputs)
        except ValueError as problem:
            raise ValueError(f"node {node.name!r} ({node.op}): {problem}") from problem
        used.update(node.inputs)
    unused = [node.name for node in nodes[:-1] if node.name not in used]
    if unused:
        raise ValueError(f"node {unused[0]!r}: no later node reads it; only the last node may end the graph")
    last = nodes[-1].name
    if nodes[-1].op == "dropout":
        raise ValueError(f"node {last!r}: the last node gives the logits, so it cannot be dropout; leave it out")
    if len(shapes[last]) != 1:
        raise ValueError(f"node {last!r}: the last node must give a vector of logits, not shape {shapes[last]}")
    return shapes


def _is_count(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _check_settings(node: Node) -> None:
    if node.op not in _SETTINGS:
        raise ValueError(f"node {node.name!r}: unknown op {node.op!r}; known: {', '.join(OPS)}")
    required, defaults = _SETTINGS[node.op]
    for key in required:
        if key not in node.settings:
            raise ValueError(f"node {node.name!r} ({node.op}): setting {key!r} is missing")
    for key, value in node.settings.items():
        if key in ("bias",):
            fits = isinstance(value, bool)
        elif key in ("eps", "momentum"):
            fits = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        elif key == "probability":
            fits = isinstance(value, float) and 0 < value < 1
        elif key in ("kernel_size", "stride", "padding"):
            least = 0 if key == "padding" else 1
            sizes = value if isinstance(value, list) and len(value) == 2 else [value]
            fits = all(_is_count(size, least) for size in sizes)
        elif key == "indices":
            fits = isinstance(value, list) and bool(value) and all(_is_count(index, -1) for index in value)
        else:
            fits = _is_count(value)
        if not fits or key not in (*required, *defaults):
            raise ValueError(f"node {node.name!r} ({node.op}): setting {key!r} cannot be {value!r}")


def _one(inputs: list[Shape], *, images: bool = False) -> Shape:
    if len(inputs) != 1:
        raise ValueError(f"takes one input, not {len(inputs)}")
    if images and len(inputs[0]) != 3:
        raise ValueError(f"needs images (C, H, W), not shape {inputs[0]}")
    return inputs[0]


def _window(node: Node, shape: Shape) -> tuple[int, int]:
    sizes = []
    for axis, name in enumerate(("height", "width")):
        kernel, stride, padding = (node.pair(key)[axis] for key in ("kernel_size", "stride", "padding"))
        if node.op != "conv2d" and 2 * padding > kernel:
            raise ValueError(f"padding {padding} is more than half the window of {kernel}")
        size = (shape[axis + 1] + 2 * padding - kernel) // stride + 1
        if size < 1:
            raise ValueError(f"images of {name} {shape[axis + 1]} are too small for a window of {kernel}; use larger")
        sizes.append(size)
    return sizes[0], sizes[1]


def _conv2d(node: Node, inputs: list[Shape]) -> Shape:
    shape = _one(inputs, images=True)
    channels, outputs, groups = (node.settings[key] for key in ("in_channels", "out_channels", "groups"))
    if shape[0] != channels:
        raise ValueError(f"in_channels is {channels} but its input has {shape[0]} channels")
    if channels % groups or outputs % groups:
        raise ValueError(f"{groups} groups divide neither {channels} inputs nor {outputs} outputs evenly")
    return (outputs, *_window(node, shape))


def _linear(node: Node, inputs: list[Shape]) -> Shape:
    shape = _one(inputs)
    if len(shape) != 1:
        raise ValueError(f"needs a vector, not shape {shape}; put flatten or global_avg_pool before it")
    if shape[0] != node.settings["in_features"]:
        raise ValueError(f"in_features is {node.settings['in_features']} but its input has {shape[0]}")
    return (node.settings["out_features"],)


def _batch_norm(node: Node, inputs: list[Shape]) -> Shape:
    shape = _one(inputs)
    if shape[0] != node.settings["features"]:
        raise ValueError(f"features is {node.settings['features']} but its input has {shape[0]} channels")
    return shape


def _add(node: Node, inputs: list[Shape]) -> Shape:
    if len(inputs) < 2 or len(set(inputs)) != 1:
        raise ValueError(f"needs two or more inputs {node.inputs} of one shape, not {inputs}")
    return inputs[0]


def _concat(node: Node, inputs: list[Shape]) -> Shape:
    if len(inputs) < 2 or len({shape[1:] for shape in inputs}) != 1:
        raise ValueError(f"needs two or more inputs {node.inputs} that differ in channels only, not {inputs}")
    return (sum(shape[0] for shape in inputs), *inputs[0][1:])


def _pool(node: Node, inputs: list[Shape]) -> Shape:
    shape = _one(inputs, images=True)
    return (shape[0], *_window(node, shape))


def _softmax(node: Node, inputs: list[Shape]) -> Shape:
    del node
    shape = _one(inputs)
    if len(shape) != 1:
        raise ValueError(f"needs a vector, not shape {shape}")
    return shape


def _flatten(node: Node, inputs: list[Shape]) -> Shape:
    del node
    size = 1
    for length in _one(inputs):
        size *= length
    return (size,)


def _select(node: Node, inputs: list[Shape]) -> Shape:
    shape = _one(inputs)
    indices = node.settings["indices"]
    if max(indices) >= shape[0]:
        raise ValueError(f"index {max(indices)} is beyond the {shape[0]} channels of its input")
    return (len(indices), *shape[1:])


_SHAPE_RULES: dict[str, Callable[[Node, list[Shape]], Shape]] = {
    "input": lambda _, inputs: inputs[0],
    "conv2d": _conv2d,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "relu": lambda _, inputs: _one(inputs),
    "sigmoid": lambda _, inputs: _one(inputs),
    "softmax": _softmax,
    "dropout": lambda _, inputs: _one(inputs),
    "add": _add,
    "concat": _concat,
    "max_pool": _pool,
    "avg_pool": _pool,
    "global_avg_pool": lambda _, inputs: _one(inputs, images=True)[:1],
    "flatten": _flatten,
    "select": _select,
}
