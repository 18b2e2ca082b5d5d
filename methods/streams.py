"""Many tensors as at most five flat streams, each tensor dense or as its non-zero values, whichever is smaller.

Floating point becomes float16; a tensor that float16 cannot hold (beyond 65504, or not finite) stays float32.

Gaps: the zeros in front of each non-zero value in row-major order, one byte each; 255 says "255 zeros, and the next
byte goes on". A whole network's gaps lie in one stream, its values in another, because zstd then sees like beside like,
and because one header entry per tensor would weigh more than the weights of a very sparse network.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_LONGEST = 255

_HALF, _FLOAT, _INTEGER = "half", "float", "integer"
_STREAM_DTYPES = {
    "gaps": torch.uint8,
    "values": torch.float16,
    _HALF: torch.float16,
    _FLOAT: torch.float32,
    _INTEGER: torch.int64,
}


class StreamError(ValueError):
    """Streams and forms that contradict each other or the tensors to fill."""


def to_streams(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str | int]]:
    """The streams by name, without empty ones, and the form of each tensor, in order."""
    streams: dict[str, list[Tensor]] = {name: [] for name in _STREAM_DTYPES}
    forms = [_put(tensor.detach().cpu().reshape(-1), streams) for tensor in state.values()]
    return {name: torch.cat(parts) for name, parts in streams.items() if parts}, forms


def fill_from_streams(state: Mapping[str, Tensor], streams: Mapping[str, Tensor], forms: object) -> None:
    """Write what `to_streams` made of equally shaped tensors into those of `state`.

    Raises:
        StreamError: The arguments are not of the same state.
    """
    reader = _Reader(streams)
    if not isinstance(forms, list) or len(forms) != len(state):
        raise StreamError(f"{len(state)} tensors in the architecture, but its list of forms is {forms!r}.")
    for form, (name, tensor) in zip(forms, state.items(), strict=True):
        tensor.copy_(_get(form, name, tensor.numel(), reader).view(tensor.shape))
    reader.check_empty()


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
    gaps = encode_gaps(positions)
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
        raise StreamError(f"'{name}' has the unknown form {form!r}.")
    flat = torch.zeros(size, dtype=torch.float16)
    positions = reader.take_positions(form)
    if form and int(positions[-1]) >= size:
        raise StreamError(f"'{name}' holds {size} values, but one lies at position {int(positions[-1])}.")
    flat[torch.from_numpy(positions)] = reader.take("values", form)
    return flat


class _Reader:
    """Takes tensors off the front of the streams, in the order in which they were appended."""

    def __init__(self, streams: Mapping[str, Tensor]) -> None:
        for name, stream in streams.items():
            if _STREAM_DTYPES.get(name) != stream.dtype or stream.dim() != 1:
                raise StreamError(f"unexpected stream '{name}' of {stream.dtype} {tuple(stream.shape)}.")
        self._streams = {name: streams.get(name, torch.empty(0, dtype=dtype)) for name, dtype in _STREAM_DTYPES.items()}
        self._read = dict.fromkeys(_STREAM_DTYPES, 0)
        # Every byte below 255 ends one gap, so a count of gaps is a stretch of this list.
        self._ends = np.flatnonzero(self._streams["gaps"].numpy() < _LONGEST)
        self._gaps_read = 0

    def take(self, stream: str, count: int) -> Tensor:
        start = self._read[stream]
        self._read[stream] = start + count
        if start + count > len(self._streams[stream]):
            raise StreamError(f"its stream '{stream}' ends too early.")
        return self._streams[stream][start : start + count]

    def take_positions(self, count: int) -> NDArray[np.int64]:
        if self._gaps_read + count > len(self._ends):
            raise StreamError("its stream 'gaps' ends too early.")
        if count == 0:
            return np.empty(0, dtype=np.int64)
        self._gaps_read += count
        num_bytes = int(self._ends[self._gaps_read - 1]) + 1 - self._read["gaps"]
        return decode_gaps(self.take("gaps", num_bytes).numpy())

    def check_empty(self) -> None:
        for name, stream in self._streams.items():
            if self._read[name] != len(stream):
                raise StreamError(f"its stream '{name}' holds more than the architecture has room for.")


def encode_gaps(positions: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Ascending positions as variable-length bytes, see the top of this file."""
    gaps = np.diff(positions, prepend=-1) - 1
    ends = np.cumsum(gaps // _LONGEST + 1)
    coded = np.full(int(ends[-1]) if len(ends) else 0, _LONGEST, dtype=np.uint8)
    coded[ends - 1] = gaps % _LONGEST
    return coded


def decode_gaps(coded: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The positions that `encode_gaps` coded; `coded` ends with a complete gap."""
    # Each byte moves on by its value; a byte that ends a gap also steps over the non-zero value itself.
    moved = np.cumsum(coded, dtype=np.int64)
    ends = np.flatnonzero(coded < _LONGEST)
    return moved[ends] + np.arange(len(ends), dtype=np.int64)
