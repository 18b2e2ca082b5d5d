"""The stored form of a module library: its keep-sets, and what tells the network they belong to from any other.

The network's weights are not in it: a run stores them anyway, as those of its whole network. One zstd frame around one
safetensors blob; each unit of each class takes a bit before compression. No pickle is written or read.

Shapes: K = classes, U = units of a site.
"""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from methods.blob import compress, decompress, pack, unpack
from methods.modules.library import ModuleLibrary
from methods.networks.graph import Network

_FORMAT = "paredown-modules-1"
_LEVEL = 19


class LibraryError(ValueError):
    """The bytes are no module library, or that of another network; the message says how to mend it."""


def save_library(library: ModuleLibrary) -> bytes:
    """The keep-sets, class names and settings of a library; equal libraries give equal bytes."""
    flat = torch.cat([mask_KU.cpu().reshape(-1) for mask_KU in library.masks])
    head = {
        "format": _FORMAT,
        "classes": list(library.class_names),
        # Equal settings in another order make an equal library.
        "settings": json.loads(json.dumps(dict(library.settings), sort_keys=True)),
        "architecture": _architecture_digest(library.network),
        "weights": _weights_digest(library.network),
    }
    return compress(pack({"keep": torch.from_numpy(np.packbits(flat.numpy()))}, head), level=_LEVEL)


def load_library(data: bytes, network: Network) -> ModuleLibrary:
    """The library stored by `save_library`, its masks on the CPU.

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
    if head.get("format") != _FORMAT:
        raise LibraryError(
            f"module library of format {head.get('format')!r}; this version reads {_FORMAT!r}. Store the library again."
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
    masks = _masks(tensors, _class_names(head), network)
    try:
        return ModuleLibrary(network, _class_names(head), masks, _settings(head))
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


def _masks(tensors: dict[str, Tensor], class_names: tuple[str, ...], network: Network) -> tuple[Tensor, ...]:
    """One bool (K, U) per site from the packed bits of all of them."""
    packed = tensors.get("keep")
    sizes = [len(class_names) * site.units for site in network.sites]
    if packed is None or packed.dtype != torch.uint8 or packed.shape != (-(-sum(sizes) // 8),):
        held = "none" if packed is None else f"{packed.dtype} {tuple(packed.shape)}"
        raise LibraryError(
            f"module library: its keep-sets ({held}) do not fit {len(class_names)} classes and the "
            f"{sum(site.units for site in network.sites)} units of the network; store the library again."
        )
    flat = torch.from_numpy(np.unpackbits(packed.numpy(), count=sum(sizes))).bool()
    ends = np.cumsum([0, *sizes]).tolist()
    return tuple(flat[start:stop].reshape(len(class_names), -1).clone() for start, stop in pairwise(ends))


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
