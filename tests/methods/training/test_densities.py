"""Erdos-Renyi-Kernel densities against hand-worked cases and a reference that finds the scale by bisection."""

from __future__ import annotations

import math

import pytest

from methods.networks.build import build_network
from methods.networks.catalog import network_names
from methods.training.densities import erdos_renyi_kernel, kept_weights
from methods.training.masks import prunable_weights
from tests.methods.networks.samples import small_input


def _by_bisection(shapes: list[tuple[int, ...]], density: float) -> list[float]:
    """The scale at which min(1, scale * raw) of all layers together has the density: another way to the same end."""
    raw = [sum(shape) / math.prod(shape) for shape in shapes]
    sizes = [math.prod(shape) for shape in shapes]
    low, high = 0.0, 1 / min(raw)
    for _ in range(200):
        middle = (low + high) / 2
        kept = sum(min(1.0, middle * share) * size for share, size in zip(raw, sizes, strict=True))
        low, high = (middle, high) if kept < density * sum(sizes) else (low, middle)
    return [min(1.0, high * share) for share in raw]


def test_densities_by_hand() -> None:
    # Sums of sizes 20 and 60, products 100 and 900: kept 20 e and 60 e of 1,000, together 100, so e = 1.25.
    assert erdos_renyi_kernel([(10, 10), (30, 30)], density=0.1) == pytest.approx([0.25, 75 / 900])
    # A kernel counts with its sides: 2 + 2 + 3 + 3 over 36, beside 12 over 20; 10 e + 12 e = 5.6.
    assert erdos_renyi_kernel([(2, 2, 3, 3), (10, 2)], density=0.1) == pytest.approx(
        [10 / 36 * 5.6 / 22, 12 / 20 * 5.6 / 22]
    )


def test_a_layer_beyond_one_stays_whole_and_the_rest_share_what_is_left() -> None:
    # 4 + 200 e of 10,004 are 1,000.4: without the cap e = 4.9, and the small layer would be 4.9 times full.
    densities = erdos_renyi_kernel([(2, 2), (100, 100)], density=0.1)
    assert densities == pytest.approx([1.0, (1000.4 - 4) / 10_000])


SHAPES: dict[str, list[tuple[int, ...]]] = {
    "several capped at once": [(3, 3), (8, 2), (16, 16, 3, 3), (4, 64), (64, 64, 3, 3)],
    "capped one after another": [(5, 3), (20, 20), (30, 40), (50, 50)],
} | {
    name: [
        tuple(weight.shape)
        for weight in prunable_weights(
            build_network(name, input_shape=small_input(name), num_outputs=10, width=0.5, seed=0)
        )
    ]
    for name in network_names()
}


@pytest.mark.parametrize("density", [0.0, 0.005, 0.1, 0.5, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("name", list(SHAPES))
def test_densities_agree_with_bisection_and_add_up(name: str, density: float) -> None:
    shapes = SHAPES[name]
    densities = erdos_renyi_kernel(shapes, density=density)
    assert densities == pytest.approx(_by_bisection(shapes, density), abs=1e-9)
    assert all(0 <= share <= 1 for share in densities)
    sizes = [math.prod(shape) for shape in shapes]
    assert sum(share * size for share, size in zip(densities, sizes, strict=True)) == pytest.approx(
        density * sum(sizes)
    )


@pytest.mark.parametrize("share", [0.0, 0.01, 0.02, 0.1, 0.37, 0.9, 1.0])
@pytest.mark.parametrize("name", list(SHAPES))
def test_whole_numbers_add_up_exactly_and_lie_within_one_of_the_densities(name: str, share: float) -> None:
    shapes = SHAPES[name]
    sizes = [math.prod(shape) for shape in shapes]
    total = round(share * sum(sizes))
    kept = kept_weights(shapes, total=total)
    assert sum(kept) == total
    assert all(0 <= count <= size for count, size in zip(kept, sizes, strict=True))
    densities = erdos_renyi_kernel(shapes, density=total / sum(sizes))
    assert all(abs(count - part * size) < 1 for count, part, size in zip(kept, densities, sizes, strict=True))
