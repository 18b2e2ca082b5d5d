"""Logits of a network on a split, exactly as a user would get them. Shapes: N = samples, K = outputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from methods.contract import Normalization, Split
from methods.data.normalise import normalise
from methods.networks.graph import Network
from methods.networks.last_layer import precise_logits


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Switch to evaluation without gradients; afterwards every layer has the mode it had before."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def exact_evaluation(network: nn.Module, *, device: str, dtype: torch.dtype = torch.float32) -> Iterator[None]:
    """`evaluation_mode` in which float32 is exact: neither TF32 nor a caller's autocast rounds.

    Args:
        device: Where the network lies.
        dtype: bfloat16 runs under autocast instead.
    """
    kind = torch.device(device).type
    with (
        evaluation_mode(network),
        _without_tf32(),
        torch.autocast(kind, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16),
    ):
        yield


def ready(inputs: Tensor, *, normalization: Normalization, device: str) -> Tensor:
    """Raw samples as a network reads them fastest: on its device, normalised, images channels-last."""
    return normalise(_laid_out(inputs.to(device)), normalization)


def predict(
    network: nn.Module,
    split: Split,
    *,
    normalization: Normalization,
    device: str,
    batch_size: int = 128,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Logits of every sample of a split, in order, each sample once.

    Args:
        network: On `device` already; its training mode is restored.
        split: On any device; batches are moved to `device`.
        normalization: Applied to the raw samples on the device.
        device: Where the network lies, e.g. `cpu` or `cuda:0`.
        batch_size: Most samples at a time; the last batch may be smaller. A ResNet-20 reads images channels-last in
            batches of 128 almost twice as fast as plainly in batches of 512 (one CPU thread).
        dtype: float32 is exact (no TF32 either); bfloat16 runs all layers of a `Network` but the last under autocast,
            for training's own glances.

    Returns:
        Float32 (N, K) on `device`.

    Raises:
        ValueError: The split is empty.
    """
    if len(split) == 0:
        raise ValueError("predict: the split holds no samples; give at least one.")
    rough = dtype == torch.bfloat16
    run = partial(precise_logits, network) if rough and isinstance(network, Network) else network
    with exact_evaluation(network, device=device, dtype=dtype):
        batches = [
            run(ready(split.inputs[start : start + batch_size], normalization=normalization, device=device)).float()
            for start in range(0, len(split), batch_size)
        ]
    # Joined outside of inference mode, so that the caller may use the result like any tensor.
    return torch.cat(batches)


def _laid_out(inputs: Tensor) -> Tensor:
    """Images channels-last, tables as they are."""
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.dim() == 4 else inputs


@contextmanager
def _without_tf32() -> Iterator[None]:
    """On a GPU, cuDNN rounds the factors of float32 convolutions to 10 bits unless told not to."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
