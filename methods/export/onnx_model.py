"""A network as an ONNX model: one operator per node of its architecture, so no tracing is needed.

Reference: ONNX operator set 17, https://onnx.ai/onnx/operators.
Shapes: N = samples, C = channels, D = features.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.contract import Normalization
from methods.networks.architecture import Node
from methods.networks.graph import Network

OPSET, _IR_VERSION = 17, 8
"""Of 2022: runtimes older than that are rare, and no operator here has gained anything since."""


class OnnxMissing(ImportError):
    """The package `onnx` is not installed."""


def require_onnx() -> None:
    """Raise `OnnxMissing` unless the package `onnx` can be imported."""
    _onnx("onnx")


def write_onnx(network: Network, normalization: Normalization | None) -> bytes:
    """The content of an `.onnx` file from `input`, float32 (N, ...), to `logits`, float32 (N, num_outputs).

    Weights are stored dense, zeros included. Equal networks give equal bytes.

    Args:
        network: On the CPU, in evaluation mode.
        normalization: Becomes the first two operators; None leaves it out, and inputs must come normalised.

    Raises:
        OnnxMissing: The package `onnx` is not installed.
    """
    helper = _onnx("onnx.helper")
    model = helper.make_model(
        _Graph(network).build(normalization),
        producer_name="paredown",
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    _onnx("onnx.checker").check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def read_onnx(data: bytes) -> Callable[[Tensor], Tensor]:
    """What computes logits as the model does, by ONNX's own reference implementation: right, and slow.

    Raises:
        OnnxMissing: The package `onnx` is not installed.
    """
    evaluator = _onnx("onnx.reference").ReferenceEvaluator(_onnx("onnx").load_model_from_string(data))

    def run(x: Tensor) -> Tensor:
        (logits,) = evaluator.run(None, {"input": x.numpy()})
        return torch.from_numpy(np.asarray(logits))

    return run


def _onnx(module: str) -> Any:
    """A module of the package, which is optional: its only door."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise OnnxMissing(
            f'the format onnx needs the package onnx ({error}); install it with `pip install "paredown[onnx]"`'
        ) from error


class _Graph:
    """The operators and tensors of a model in the making. Values are named for the nodes that they come from."""

    def __init__(self, network: Network) -> None:
        self._helper = _onnx("onnx.helper")
        self._from_array = _onnx("onnx.numpy_helper").from_array
        self._architecture = network.architecture
        self._tensors = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
        self._operators: list[Any] = []
        self._constants: list[Any] = []

    def build(self, normalization: Normalization | None) -> Any:
        first, *nodes = self._architecture.nodes
        values = {first.name: "input"}
        if normalization is not None:
            values[first.name] = self._normalised(normalization)
        for node in nodes:
            output = "logits" if node is nodes[-1] else f"{node.name}.output"
            self._place(node, [values[name] for name in node.inputs], output)
            values[node.name] = output
        return self._helper.make_graph(
            self._operators,
            "network",
            [self._value("input", self._architecture.input_shape)],
            [self._value("logits", (self._architecture.num_outputs,))],
            self._constants,
        )

    def _normalised(self, normalization: Normalization) -> str:
        axes = (-1, *[1] * (len(self._architecture.input_shape) - 1))
        mean, std = (np.array(v, dtype=np.float32).reshape(axes) for v in (normalization.mean, normalization.std))
        self._add("Sub", ["input", self._constant("normalization.mean", mean)], "input.centred")
        self._add("Div", ["input.centred", self._constant("normalization.std", std)], "input.normalised")
        return "input.normalised"

    def _place(self, node: Node, inputs: list[str], output: str) -> None:
        if node.op in ("conv2d", "linear"):
            self._place_layer(node, inputs, output)
        elif node.op == "batch_norm":
            held = [self._weight(node, key) for key in ("weight", "bias", "running_mean", "running_var")]
            self._add("BatchNormalization", [*inputs, *held], output, epsilon=float(node.settings["eps"]))
        elif node.op == "max_pool":
            self._add("MaxPool", inputs, output, **_window(node))
        elif node.op == "avg_pool":
            self._add("AveragePool", inputs, output, count_include_pad=1, **_window(node))
        elif node.op == "global_avg_pool":
            self._add("GlobalAveragePool", inputs, f"{node.name}.pooled")
            self._add("Flatten", [f"{node.name}.pooled"], output, axis=1)
        elif node.op == "select":
            self._place_select(node, inputs, output)
        elif node.op in ("concat", "softmax"):
            self._add(node.op.capitalize(), inputs, output, axis=1)
        else:
            kinds = {"relu": "Relu", "sigmoid": "Sigmoid", "add": "Sum", "flatten": "Flatten", "dropout": "Identity"}
            self._add(kinds[node.op], inputs, output)

    def _place_layer(self, node: Node, inputs: list[str], output: str) -> None:
        inputs = [*inputs, self._weight(node, "weight")]
        if node.settings["bias"]:
            inputs.append(self._weight(node, "bias"))
        if node.op == "linear":
            self._add("Gemm", inputs, output, transB=1)
        else:
            self._add("Conv", inputs, output, group=node.settings["groups"], **_window(node))

    def _place_select(self, node: Node, inputs: list[str], output: str) -> None:
        indices = np.array(node.settings["indices"], dtype=np.int64)
        absent = indices < 0
        picked = f"{node.name}.picked" if absent.any() else output
        self._add("Gather", [*inputs, self._constant(f"{node.name}.indices", indices.clip(min=0))], picked, axis=1)
        if absent.any():
            # Chosen, not multiplied: a channel of zeros stays so even where the one it was read from is not finite.
            axes = (-1, *[1] * (len(self._architecture.shapes[node.name]) - 1))
            which = self._constant(f"{node.name}.absent", absent.reshape(axes))
            zero = self._constant(f"{node.name}.zero", np.zeros((), dtype=np.float32))
            self._add("Where", [which, zero, picked], output)

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self._operators.append(self._helper.make_node(kind, inputs, [output], name=output, **attributes))

    def _weight(self, node: Node, key: str) -> str:
        return self._constant(f"{node.name}.{key}", self._tensors[f"nodes.{node.name}.{key}"])

    def _constant(self, name: str, array: NDArray[Any]) -> str:
        self._constants.append(self._from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return name

    def _value(self, name: str, shape: tuple[int, ...]) -> Any:
        return self._helper.make_tensor_value_info(name, _onnx("onnx").TensorProto.FLOAT, ["batch", *shape])


def _window(node: Node) -> dict[str, list[int]]:
    """Attributes of an operator that slides over images; the padding is listed for the first and the last edges."""
    return {
        "kernel_shape": list(node.pair("kernel_size")),
        "strides": list(node.pair("stride")),
        "pads": [*node.pair("padding"), *node.pair("padding")],
    }
