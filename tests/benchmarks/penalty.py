"""How much faster the fused penalty is per training step than autograd through the surrogate with a full sort.

Run: python -m tests.benchmarks.penalty [--device cpu] [--rate 0.99]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from methods.hypersparse.fused import FusedPenalty
from methods.hypersparse.penalty import INFLECTION

SHAPES: dict[str, list[tuple[int, ...]]] = {
    "ResNet-32 doubled, 1.86 M": [(32, 3, 3, 3)]
    + [(32, 32, 3, 3)] * 10
    + [(64, 32, 3, 3), (64, 32, 1, 1)]
    + [(64, 64, 3, 3)] * 9
    + [(128, 64, 3, 3), (128, 64, 1, 1)]
    + [(128, 128, 3, 3)] * 9
    + [(10, 128)],
    "VGG-19, 20.0 M": [(64, 3, 3, 3), (64, 64, 3, 3), (128, 64, 3, 3), (128, 128, 3, 3), (256, 128, 3, 3)]
    + [(256, 256, 3, 3)] * 3
    + [(512, 256, 3, 3)]
    + [(512, 512, 3, 3)] * 7
    + [(10, 512)],
}


def by_autograd(weights: list[nn.Parameter], *, pruning_rate: float, strength: float) -> None:
    """What the public code does in every step: concatenate, sort all, build the surrogate, differentiate it."""
    w = torch.cat([weight.view(-1) for weight in weights])
    a = w.abs()
    tau = a.detach().sort().values[int(pruning_rate * len(a))]
    t = torch.tanh(INFLECTION / tau * a)
    (strength * (a.sum() * t.sum() / t.detach().sum() - a.sum())).backward()  # type: ignore[no-untyped-call]


def least_seconds(step: Callable[[], None], *, repeats: int, device: str) -> float:
    """Fastest of `repeats` calls after one that warms up: what neighbours on the machine add is not ours."""
    step()
    times = []
    for _ in range(repeats):
        _wait(device)
        start = time.perf_counter()
        step()
        _wait(device)
        times.append(time.perf_counter() - start)
    return min(times)


def random_weights(shapes: list[tuple[int, ...]], device: str) -> list[nn.Parameter]:
    """He-initialised parameters with gradients in place, as after a backward pass."""
    generator = torch.Generator().manual_seed(0)
    weights = []
    for shape in shapes:
        fan_in = torch.Size(shape[1:]).numel()
        weight = nn.Parameter((torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5).to(device))
        weight.grad = torch.zeros_like(weight)
        weights.append(weight)
    return weights


def _wait(device: str) -> None:
    if device != "cpu":
        torch.accelerator.synchronize()


def _drift(weights: list[Tensor]) -> None:
    """Move the weights as a step does, so that no selection profits from standing still."""
    torch._foreach_mul_(weights, 0.999)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rate", type=float, default=0.99)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for name, shapes in SHAPES.items():
        weights = random_weights(shapes, arguments.device)
        fused = FusedPenalty(weights, kind="hypersparse", pruning_rate=arguments.rate)

        def fused_step(weights: list[nn.Parameter] = weights, fused: FusedPenalty = fused) -> None:
            _drift([weight.detach() for weight in weights])
            fused.add_to_gradients(1e-6)

        def slow_step(weights: list[nn.Parameter] = weights) -> None:
            by_autograd(weights, pruning_rate=arguments.rate, strength=1e-6)

        fast = least_seconds(fused_step, repeats=15, device=arguments.device)
        slow = least_seconds(slow_step, repeats=3, device=arguments.device)
        count = sum(weight.numel() for weight in weights)
        print(
            f"{name} ({count:,} weights): autograd {slow * 1e3:.1f} ms, fused {fast * 1e3:.2f} ms, {slow / fast:.1f}x"
        )


if __name__ == "__main__":
    main()
