"""The stored form of a network: what a user deploys, and what goes on training. No pickle is written or read.

A deployed network becomes one zstd frame around one safetensors blob of at most five flat streams
(`methods.streams`). Weights are float16; at 99 % zeros expect a 134th of the dense float32 bytes. Class modules that
run side by side are stored as the weights that they share, their heads, and one bit per unit and module.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from methods.blob import compress, decompress, pack, unpack
from methods.modules.heads import ModuleHeads
from methods.modules.packed import packed_masks, unpacked_masks
from methods.modules.side_by_side import Delivered, SideBySide
from methods.networks.graph import Architecture, Network
from methods.streams import StreamError, fill_from_streams, to_streams

_FORMAT = "paredown-artefact-1"
_MODULES_FORMAT = "paredown-artefact-2"
"""Of modules side by side, which earlier versions refuse by this name; plain networks stay readable to them."""
_MODULES, _MASKS = "modules", "masks"
"""Beside the architecture what tells modules apart, and beside the weights the units that each keeps."""
_LEVEL, _FAST_LEVEL = 19, 3
_FAST_ABOVE_BYTES = 8_000_000
"""Level 19 takes about 0.25 s per megabyte of float16, level 3 takes 0.01 s and comes within a per cent of it there."""


class ArtefactError(ValueError):
    """The bytes are not a network stored by this package: truncated, damaged or foreign."""


def encode(delivered: Delivered) -> bytes:
    """The artefact of what is deployed (see `methods.modules.compacting.deployed_form`); equal ones give equal bytes.

    Weights are rounded to float16. A tensor that float16 cannot hold (beyond 65504, or not finite) stays float32.
    """
    streams, forms = to_streams(delivered.state_dict())
    head: dict[str, Any] = {
        "format": _FORMAT,
        "forms": forms,
        "architecture": _shared(delivered).architecture.to_json(),
    }
    if isinstance(delivered, SideBySide):
        head |= {"format": _MODULES_FORMAT, _MODULES: _described(delivered)}
        streams[_MASKS] = packed_masks(delivered.masks)
    blob = pack(streams, head)
    return compress(blob, level=_LEVEL if len(blob) <= _FAST_ABOVE_BYTES else _FAST_LEVEL)


def decode(data: bytes) -> Delivered:
    """What was encoded, on the CPU in evaluation mode, float32, with exactly the stored weights.

    Raises:
        ArtefactError: The bytes are truncated, damaged or no artefact.
    """
    try:
        blob = decompress(data)
    except ValueError as error:
        raise ArtefactError(f"no readable artefact in these {len(data)} bytes ({error}); store it again.") from error
    streams, head = _unpack(blob)
    if head.get("format") not in (_FORMAT, _MODULES_FORMAT):
        raise ArtefactError(
            f"artefact of format {head.get('format')!r}; this version reads {_FORMAT!r} and {_MODULES_FORMAT!r}."
        )
    network = _network(head.get("architecture"))
    modular = head["format"] == _MODULES_FORMAT
    delivered = _side_by_side(network, head.get(_MODULES), streams.pop(_MASKS, None)) if modular else network
    try:
        fill_from_streams(delivered.state_dict(), streams, head.get("forms"))
    except StreamError as error:
        raise ArtefactError(f"artefact: {error}") from error
    return delivered.eval()


def save_network(delivered: Delivered) -> bytes:
    """Everything needed to go on training: all weights and buffers at full precision, as plain safetensors."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in delivered.state_dict().items()}
    head = _shared(delivered).architecture.to_json()
    if isinstance(delivered, SideBySide):
        head |= {_MODULES: _described(delivered)}
        tensors |= {_MASKS: packed_masks(delivered.masks)}
    return pack(tensors, head)


def load_network(data: bytes) -> Delivered:
    """What was stored by `save_network`, on the CPU in training mode; every bit is the same.

    Raises:
        ArtefactError: The bytes are truncated, damaged or foreign.
    """
    tensors, head = _unpack(data)
    network = _network(head)
    delivered = _side_by_side(network, head[_MODULES], tensors.pop(_MASKS, None)) if _MODULES in head else network
    try:
        delivered.load_state_dict(tensors)
    except RuntimeError as error:
        raise ArtefactError(f"stored weights do not fit the stored architecture: {error}") from error
    return delivered


def _shared(delivered: Delivered) -> Network:
    return delivered.network if isinstance(delivered, SideBySide) else delivered


def _described(modules: SideBySide) -> dict[str, Any]:
    """What is to be known of modules beside their tensors: how many, and whose logit each gives; none with heads."""
    return {"count": len(modules), "outputs": list(modules.outputs)}


def _unpack(blob: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        return unpack(blob)
    except ValueError as error:
        raise ArtefactError(f"no stored network in these {len(blob)} bytes ({error}); store it again.") from error


def _network(architecture: object) -> Network:
    """The network of an architecture, its weights not yet filled in."""
    try:
        return Network(Architecture.from_json(architecture))
    except ValueError as error:
        raise ArtefactError(f"stored network: its architecture cannot be read: {error}") from error


def _side_by_side(network: Network, described: Any, packed: Tensor | None) -> SideBySide:
    """Modules over a network, their heads not yet filled in."""
    try:
        count, outputs = (described[key] for key in ("count", "outputs"))
        masks = unpacked_masks(packed, num_modules=count, units=[site.units for site in network.sites])
        heads = None if outputs else ModuleHeads(count, network.architecture.num_outputs)
        return SideBySide(network, masks, outputs=outputs or None, heads=heads)
    except (TypeError, KeyError, ValueError) as error:
        raise ArtefactError(f"stored modules side by side contradict themselves: {error}") from error
