from __future__ import annotations

from typing import Any

import pytest

from methods.metamorphic.permutation import smoothed
from methods.networks.channel_groups import channel_groups
from tests.methods.morphing.networks import fused, inputs


@pytest.mark.parametrize(
    ("name", "shape", "arguments"),
    [
        ("resnet20", (3, 32, 32), {}),
        ("small_cnn", (1, 8, 8), {}),
        ("lenet5", (1, 28, 28), {}),
        ("mlp", (1, 8, 8), {"widths": [20, 12]}),
    ],
)
def test_the_smoothest_order_leaves_the_function_as_it_is(
    name: str, shape: tuple[int, ...], arguments: dict[str, Any]
) -> None:
    network = fused(name, shape, **arguments)
    found = smoothed(network)
    x = inputs(network)
    before, after = network(x), found.network(x)
    assert (before - after).abs().max() <= 1e-5 * before.abs().max()
    assert found.variation_after < found.variation_before


def test_orders_are_those_of_the_free_groups_and_the_same_every_time() -> None:
    network = fused("small_cnn", (1, 8, 8))
    one, other = smoothed(network), smoothed(network)
    assert one.orders == other.orders
    for group, order in zip(channel_groups(network.architecture), one.orders, strict=True):
        assert (order is None) is group.fixed
        assert order is None or sorted(order) == list(range(group.channels))
