from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from methods.metamorphic.permutation import smoothed
from methods.metamorphic.smoothing import network_total_variation
from methods.networks.channel_groups import channel_groups
from methods.networks.reordering import reordered
from tests.methods.morphing.networks import fused, inputs


@pytest.mark.parametrize(
    ("name", "shape", "arguments"),
    [
        ("resnet20", (3, 32, 32), {}),
        ("small_cnn", (1, 8, 8), {}),
        ("lenet5", (1, 28, 28), {}),
        ("mlp", (1, 8, 8), {"widths": [20, 12]}),
        ("simcnn_gradsplitter", (3, 32, 32), {"stages": [4, 6, 8, 8, 8], "hidden": [12, 10]}),
        ("rescnn_gradsplitter", (3, 32, 32), {"stages": [4, 6, 8, 8]}),
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


def test_the_saved_orders_make_the_smoothed_network_again() -> None:
    network = fused("small_cnn", (1, 8, 8))
    found = smoothed(network)
    again = reordered(network, found.orders).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in found.network.state_dict().items())
    variation = network_total_variation([parameter.detach().double() for parameter in found.network.parameters()])
    assert found.variation_after == float(variation)


@settings(deadline=None, max_examples=25)
@given(
    first=st.integers(1, 4),
    second=st.integers(1, 4),
    hidden=st.integers(1, 4),
    seed=st.integers(0, 200),
    dead=st.booleans(),
    alike=st.booleans(),
)
@example(
    first=3, second=3, hidden=3, seed=22, dead=False, alike=False
)  # a shorter path that varies more behind flatten
def test_total_variation_never_grows_with_few_dead_or_equal_channels(
    first: int, second: int, hidden: int, seed: int, dead: bool, alike: bool
) -> None:
    network = fused("small_cnn", (1, 16, 16), seed=seed, channels=[first, second], hidden=hidden)
    with torch.no_grad():
        for parameter in network.parameters():
            if dead:
                parameter[::2] = 0
            if alike:
                parameter[1:] = parameter[:1].clone()
    found = smoothed(network)
    x = inputs(network)
    before, after = network(x), found.network(x)
    assert (before - after).abs().max() <= 1e-5 * before.abs().max()
    assert found.variation_after <= found.variation_before
