"""The stored form of a network: what a user deploys, and what goes on training. No pickle is written or read.

A deployed network becomes one zstd frame around one safetensors blob of at most five flat streams. Weights are float16;
each tensor is stored dense or as its non-zero values with the gaps between them, whichever takes fewer bytes.
At 99 % zeros expect a 134th of the dense float32 bytes.

Gaps: the zeros in front of each non-zero value in row-major order, one byte each; 255 says "255 zeros, and the next
byte goes on". A whole network's gaps lie in one stream, its values in another, because zstd then sees like beside like,
and because one header entry per tensor would weigh more than the weights of a very sparse network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.blob import compress, decompress, pack, unpack
from methods.networks.graph import Architecture, Network

_FORMAT = "paredown-artefact-1"
_LEVEL, _FAST_LEVEL = 19, 3
_FAST_ABOVE_BYTES = 8_000_000
"""Level 19 takes about 0.25 s per megabyte of float16, level 3 takes 0.01 s and comes within a per cent of it there."""
_LONGEST = 255

_HALF, _FLOAT, _INTEGER = "half", "float", "integer"
_STREAM_DTYPES = {
    "gaps": torch.uint8,
    "values": torch.float16,
    _HALF: torch.float16,
    _FLOAT: torch.float32,
    _INTEGER: torch.int64,
}


class ArtefactError(ValueError):
    """The bytes are not a network stored by this package: truncated, damaged or foreign."""


def encode(network: Network) -> bytes:
    """The artefact of a deployed network (see `methods.surgery.deploy`); equal networks give equal bytes.

    Weights are rounded to float16. A tensor that float16 cannot hold (beyond 65504, or not finite) stays float32.
    """
    streams: dict[str, list[Tensor]] = {name: [] for name in _STREAM_DTYPES}
    forms = [_put(tensor.detach().cpu().reshape(-1), streams) for tensor in network.state_dict().values()]
    packed = {name: torch.cat(parts) for name, parts in streams.items() if parts}
    blob = pack(packed, {"format": _FORMAT, "forms": forms, "architecture": network.architecture.to_json()})
    return compress(blob, level=_LEVEL if len(blob) <= _FAST_ABOVE_BYTES else _FAST_LEVEL)


def decode(data: bytes) -> Network:
    """The network of an artefact, on the CPU in evaluation mode, float32, with exactly the stored weights.

    Raises:
        ArtefactError: The bytes are truncated, damaged or no artefact.
    """
    try:
        blob = decompress(data)
    except ValueError as error:
        raise ArtefactError(f"no readable artefact in these {len(data)} bytes ({error}); store it again.") from error
    streams, head = _unpack(blob)
    if head.get("format") != _FORMAT:
        raise ArtefactError(f"artefact of format {head.get('format')!r}; this version reads {_FORMAT!r}.")
    network = _build(head)
    reader = _Reader(streams)
    state = network.state_dict()
    forms = head.get("forms")
    if not isinstance(forms, list) or len(forms) != len(state):
        raise ArtefactError(f"artefact: {len(state)} tensors in the architecture, but its list of forms is {forms!r}.")
    for form, (name, tensor) in zip(forms, state.items(), strict=True):
        tensor.copy_(_get(form, name, tensor.numel(), reader).view(tensor.shape))
    reader.check_empty()
    return network.eval()


def save_network(network: Network) -> bytes:
    """Everything needed to go on training: all weights and buffers at full precision, as plain safetensors."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    return pack(tensors, network.architecture.to_json())


def load_network(data: bytes) -> Network:
    """The network stored by `save_network`, on the CPU in training mode; every bit is the same.

    Raises:
        ArtefactError: The bytes are truncated, damaged or foreign.
    """
    tensors, architecture = _unpack(data)
    network = _build({"architecture": architecture})
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ArtefactError(f"stored weights do not fit the stored architecture: {error}") from error
    return network


def _put(flat: Tensor, streams: Mapping[str, list[Tensor]]) -> str | int:
    """Append a flat tensor to the streams; returns its form: a stream's name, or the number of values if sparse."""
    if not flat.is_floating_point():
        streams[_INTEGER].append(flat.to(torch.int64))
        return _INTEGER
    half = flat.to(torch.float16)
    if not bool(torch.isfinite(half).all()):
        streams[_FLOAT].append(flat.to(torch.float32))
        return _FLOAT
    dense = half.numpy()
    positions = np.flatnonzero(dense)
    gaps = _encode_gaps(positions)
    if gaps.nbytes + 2 * len(positions) >= dense.nbytes:
        streams[_HALF].append(half)
        return _HALF
    streams["gaps"].append(torch.from_numpy(gaps))
    streams["values"].append(torch.from_numpy(dense[positions]))
    return len(positions)


def _get(form: object, name: str, size: int, reader: _Reader) -> Tensor:
    """The flat tensor that `_put` appended, as the dtype of its stream."""
    if isinstance(form, str) and form in (_HALF, _FLOAT, _INTEGER):
        return reader.take(form, size)
    if not isinstance(form, int) or not 0 <= form <= size:
        raise ArtefactError(f"artefact: '{name}' has the unknown form {form!r}.")
    flat = torch.zeros(size, dtype=torch.float16)
    positions = reader.take_positions(form)
    if form and int(positions[-1]) >= size:
        raise ArtefactError(f"artefact: '{name}' holds {size} values, but one lies at position {int(positions[-1])}.")
    flat[torch.from_numpy(positions)] = reader.take("values", form)
    return flat


class _Reader:
    """Takes tensors off the front of the streams, in the order in which they were appended."""

    def __init__(self, streams: Mapping[str, Tensor]) -> None:
        for name, stream in streams.items():
            if _STREAM_DTYPES.get(name) != stream.dtype or stream.dim() != 1:
                raise ArtefactError(f"artefact: unexpected stream '{name}' of {stream.dtype} {tuple(stream.shape)}.")
        self._streams = {name: streams.get(name, torch.empty(0, dtype=dtype)) for name, dtype in _STREAM_DTYPES.items()}
        self._read = dict.fromkeys(_STREAM_DTYPES, 0)
        # Every byte below 255 ends one gap, so a count of gaps is a stretch of this list.
        self._ends = np.flatnonzero(self._streams["gaps"].numpy() < _LONGEST)
        self._gaps_read = 0

    def take(self, stream: str, count: int) -> Tensor:
        start = self._read[stream]
        self._read[stream] = start + count
        if start + count > len(self._streams[stream]):
            raise ArtefactError(f"artefact: its stream '{stream}' ends too early.")
        return self._streams[stream][start : start + count]

    def take_positions(self, count: int) -> NDArray[np.int64]:
        if self._gaps_read + count > len(self._ends):
            raise ArtefactError("artefact: its stream 'gaps' ends too early.")
        if count == 0:
            return np.empty(0, dtype=np.int64)
        self._gaps_read += count
        num_bytes = int(self._ends[self._gaps_read - 1]) + 1 - self._read["gaps"]
        return _decode_gaps(self.take("gaps", num_bytes).numpy())

    def check_empty(self) -> None:
        for name, stream in self._streams.items():
            if self._read[name] != len(stream):
                raise ArtefactError(f"artefact: its stream '{name}' holds more than the architecture has room for.")


def _encode_gaps(positions: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Ascending positions as variable-length bytes, see the top of this file."""
    gaps = np.diff(positions, prepend=-1) - 1
    ends = np.cumsum(gaps // _LONGEST + 1)
    coded = np.full(int(ends[-1]) if len(ends) else 0, _LONGEST, dtype=np.uint8)
    coded[ends - 1] = gaps % _LONGEST
    return coded


def _decode_gaps(coded: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The positions that `_encode_gaps` coded; `coded` ends with a complete gap."""
    # Each byte moves on by its value; a byte that ends a gap also steps over the non-zero value itself.
    moved = np.cumsum(coded, dtype=np.int64)
    ends = np.flatnonzero(coded < _LONGEST)
    return moved[ends] + np.arange(len(ends), dtype=np.int64)


def _unpack(blob: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        return unpack(blob)
    except ValueError as error:
        raise ArtefactError(f"no stored network in these {len(blob)} bytes ({error}); store it again.") from error


def _build(head: dict[str, Any]) -> Network:
    """The network of a head's architecture, its weights not yet filled in."""
    try:
        return Network(Architecture.from_json(head.get("architecture")))
    except ValueError as error:
        raise ArtefactError(f"stored network: its architecture cannot be read: {error}") from error
