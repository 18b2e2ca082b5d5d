"""Sizes that are counted, not computed with: parameters, non-zeros, bytes of the artefact."""

from __future__ import annotations

import torch
from torch import nn

from methods.artefact import encode
from methods.modules.compacting import deployed_form
from methods.modules.side_by_side import Delivered


def count_parameters(network: nn.Module) -> int:
    """Number of learned values; weights shared by several layers count once, buffers not at all."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_nonzeros(network: nn.Module) -> int:
    """Number of learned values that are not zero; weights shared by several layers count once."""
    return sum(int(torch.count_nonzero(parameter)) for parameter in network.parameters())


def stored_bytes(network: Delivered) -> int:
    """Bytes of the artefact that would be shipped for this network: deployed, then really encoded."""
    return len(encode(deployed_form(network)))
