"""Measured time of a forward pass."""

from __future__ import annotations

import statistics
import time
from typing import NamedTuple

import torch
from torch import nn

from methods.measure.predict import evaluation_mode

_MIN_REPETITIONS = 5
_MAX_REPETITIONS = 200


class Latency(NamedTuple):
    """Time of one forward pass of a whole batch."""

    median_ms: float
    repetitions: int


def latency_ms(
    network: nn.Module,
    input_shape: tuple[int, ...],
    batch_size: int,
    *,
    device: str = "cpu",
    budget_seconds: float = 0.3,
) -> Latency:
    """Median time of a forward pass on this machine, as busy as it is.

    Two calls warm up; then calls are timed one by one until the budget is spent, at least 5 and at most 200 of them.
    Blocks for about the budget, longer when 7 calls take longer than that.

    Args:
        network: On `device` already; its training mode is restored.
        input_shape: Of one sample, without the batch.
        batch_size: Samples per call.
        device: Where the network lies; on a GPU each call is waited for.
        budget_seconds: Time to spend, warm-up included.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn((batch_size, *input_shape), generator=generator).to(device)
    on_gpu = torch.device(device).type == "cuda"

    def call() -> float:
        start = time.perf_counter()
        network(inputs)
        if on_gpu:
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    seconds: list[float] = []
    with evaluation_mode(network):
        deadline = time.perf_counter() + budget_seconds
        for _ in range(2):
            call()
        while len(seconds) < _MIN_REPETITIONS or (len(seconds) < _MAX_REPETITIONS and time.perf_counter() < deadline):
            seconds.append(call())
    return Latency(statistics.median(seconds) * 1000, len(seconds))
