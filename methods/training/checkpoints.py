"""States of training as bytes: nested dicts and lists of tensors and JSON values, without pickle.

The bytes are one safetensors file. Its tensors are numbered in order of appearance; one more holds the nesting as JSON,
in which `{"$tensor": 3}` stands for tensor 3. Tensors come back on the CPU, contiguous, bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

_TREE = "tree"
_TENSOR = "$tensor"


class CheckpointError(ValueError):
    """The bytes are no state written by `pack`, or not all of them are there."""


def pack(state: Mapping[str, Any]) -> bytes:
    """Write a state.

    Args:
        state: Keys are strings; leaves are tensors, None, bool, int, float or str. Tuples come back as lists.

    Raises:
        TypeError: Something else is in there; the message says where.
    """
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_strip(state, "state", tensors))
    tensors[_TREE] = torch.frombuffer(bytearray(tree.encode()), dtype=torch.uint8)
    return save(tensors)


def unpack(data: bytes) -> dict[str, Any]:
    """Read what `pack` wrote.

    Raises:
        CheckpointError: The bytes are truncated or foreign.
    """
    try:
        tensors = load(data)
        tree = json.loads(tensors.pop(_TREE).numpy().tobytes())
        state: dict[str, Any] = _fill(tree, tensors)
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"no checkpoint can be read from these {len(data)} bytes: {error}") from error
    return state


def _strip(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON, its tensors moved to `tensors`."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = _alone(value)
        return {_TENSOR: name}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key == _TENSOR:
                raise TypeError(f"{place}: key {key!r} cannot be stored; use a string other than '{_TENSOR}'")
        return {key: _strip(item, f"{place}.{key}", tensors) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strip(item, f"{place}[{index}]", tensors) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{place}: {type(value).__name__} cannot be stored; use tensors and JSON values")


def _alone(tensor: Tensor) -> Tensor:
    """The tensor on the CPU with memory of its own, as safetensors refuses views of shared memory."""
    return torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())


def _fill(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        return {key: _fill(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, tensors) for item in value]
    return value
