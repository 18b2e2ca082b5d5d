"""The stored form of a module library: its keep-sets and heads, and what tells its network from any other.

The network's weights are not in it: a run stores them anyway, as those of its whole network. One zstd frame around one
safetensors blob; each unit of each class takes a bit before compression. No pickle is written or read.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import Tensor

from methods.blob import compress, decompress, pack, unpack
from methods.modules.heads import ModuleHeads
from methods.modules.library import Composition, ModuleLibrary
from methods.modules.packed import packed_masks, unpacked_masks
from methods.networks.graph import Network

_FORMAT = "paredown-modules-1"
_SIDE_BY_SIDE_FORMAT = "paredown-modules-2"
"""Of modules that run side by side, which earlier versions would compose wrongly."""
_HEADS = "heads."
_LEVEL = 19


class LibraryError(ValueError):
    """The bytes are no module library, or that of another network; the message says how to mend it."""


def save_library(library: ModuleLibrary) -> bytes:
    """All of a library but its network: keep-sets, heads, names, settings; equal libraries give equal bytes."""
    head: dict[str, Any] = {
        "format": _FORMAT,
        "classes": list(library.class_names),
        # Equal settings in another order make an equal library.
        "settings": json.loads(json.dumps(dict(library.settings), sort_keys=True)),
        "architecture": _architecture_digest(library.network),
        "weights": _weights_digest(library.network),
    }
    tensors = {"keep": packed_masks(library.masks)}
    if library.composition == "side_by_side":
        head |= {"format": _SIDE_BY_SIDE_FORMAT, "composition": library.composition}
    if library.heads is not None:
        state = library.heads.state_dict()
        tensors |= {f"{_HEADS}{name}": tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    return compress(pack(tensors, head), level=_LEVEL)


def load_library(data: bytes, network: Network) -> ModuleLibrary:
    """The library stored by `save_library`, its masks and heads on the CPU.

    Args:
        data: What `save_library` gave.
        network: The one that the modules were cut from, with the same weights; its device, memory layout and mode may
            be others. It becomes part of the library and is not copied.

    Raises:
        LibraryError: The bytes are truncated, damaged or foreign, or `network` has another architecture or other
            weights than the modules were cut from.
    """
    try:
        tensors, head = unpack(decompress(data))
    except ValueError as error:
        raise LibraryError(
            f"no readable module library in these {len(data)} bytes ({error}); store the library again."
        ) from error
    if head.get("format") not in (_FORMAT, _SIDE_BY_SIDE_FORMAT):
        raise LibraryError(
            f"module library of format {head.get('format')!r}; this version reads {_FORMAT!r} and "
            f"{_SIDE_BY_SIDE_FORMAT!r}. Store the library again."
        )
    if head.get("architecture") != _architecture_digest(network):
        raise LibraryError(
            "module library: its modules were cut from a network of another architecture; give the whole network of "
            "the same run, as training left it and not in its deployed form."
        )
    if head.get("weights") != _weights_digest(network):
        raise LibraryError(
            "module library: its modules were cut from a network of this architecture with other weights; give the "
            "whole network of the same run, as training left it: full precision, not trained further."
        )
    class_names, settings, composition = _class_names(head), _settings(head), _composition(head)
    heads = _heads(tensors, class_names, network)
    units = [site.units for site in network.sites]
    try:
        masks = unpacked_masks(tensors.get("keep"), num_modules=len(class_names), units=units)
        return ModuleLibrary(network, class_names, masks, settings, heads=heads, composition=composition)
    except ValueError as error:
        raise LibraryError(f"the stored library contradicts itself: {error}") from error


def _class_names(head: dict[str, Any]) -> tuple[str, ...]:
    names = head.get("classes")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise LibraryError(f"module library: its class names are {names!r}; store the library again.")
    return tuple(names)


def _settings(head: dict[str, Any]) -> dict[str, Any]:
    settings = head.get("settings")
    if not isinstance(settings, dict):
        raise LibraryError(f"module library: its settings are {settings!r}; store the library again.")
    return settings


def _composition(head: dict[str, Any]) -> Composition:
    if head["format"] == _FORMAT:
        return "union"
    if head.get("composition") != "side_by_side":
        raise LibraryError(f"module library: its composition is {head.get('composition')!r}; store the library again.")
    return "side_by_side"


def _heads(tensors: dict[str, Tensor], class_names: tuple[str, ...], network: Network) -> ModuleHeads | None:
    stored = {name.removeprefix(_HEADS): tensor for name, tensor in tensors.items() if name.startswith(_HEADS)}
    if not stored:
        return None
    heads = ModuleHeads(len(class_names), network.architecture.num_outputs)
    try:
        heads.load_state_dict(stored)
    except RuntimeError as error:
        raise LibraryError(f"module library: its heads do not fit: {error}; store the library again.") from error
    return heads


def _architecture_digest(network: Network) -> str:
    return hashlib.sha256(json.dumps(network.architecture.to_json(), sort_keys=True).encode()).hexdigest()


def _weights_digest(network: Network) -> str:
    """Of the values of all weights and buffers, whatever their type, device and memory layout."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        # float64 holds every value of the narrower types; contiguous() undoes channels-last.
        digest.update(tensor.detach().cpu().to(torch.float64).contiguous().numpy().astype("<f8", copy=False))
    return digest.hexdigest()
