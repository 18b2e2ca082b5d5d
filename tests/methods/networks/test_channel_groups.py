from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.networks.build import build_network
from methods.networks.catalog import design_network
from methods.networks.channel_groups import channel_groups
from methods.networks.reordering import reordered
from tests.methods.morphing.networks import fused, inputs


def test_a_resnet_20_has_13_groups_of_which_the_logits_are_fixed() -> None:
    groups = channel_groups(design_network("resnet20", input_shape=(3, 32, 32), num_outputs=10))
    assert len(groups) == 13
    assert [group.writers for group in groups if group.fixed] == [("classifier",)]
    stream = groups[0]
    assert stream.writers == ("stem_conv", "stage1_block1_b_conv", "stage1_block2_b_conv", "stage1_block3_b_conv")
    assert "stage2_block1_shortcut_conv" in stream.readers
    assert sum(len(group.writers) for group in groups) == 22


def test_what_a_concatenation_reads_is_fixed() -> None:
    groups = channel_groups(design_network("incecnn_gradsplitter", input_shape=(3, 32, 32), num_outputs=10))
    assert any(group.fixed and group.writers != ("classifier",) for group in groups)


ARCHITECTURES: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("resnet20", (3, 16, 16), {}),
    ("small_cnn", (1, 8, 8), {"channels": [6, 8], "hidden": 12}),
    ("lenet5", (1, 28, 28), {}),
    ("mlp", (7,), {"widths": [9, 5]}),
    ("mobilenet", (3, 32, 32), {}),
    ("rescnn_gradsplitter", (3, 32, 32), {"stages": [4, 6, 8, 8]}),
    ("incecnn_gradsplitter", (3, 16, 16), {"stem": [4, 6, 8], "branches": [4, 4, 2] * 3}),
]


@pytest.mark.parametrize(("name", "shape", "arguments"), ARCHITECTURES)
@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 2**20))
def test_any_order_of_free_channels_leaves_the_function_as_it_is(
    name: str, shape: tuple[int, ...], arguments: dict[str, Any], seed: int
) -> None:
    # Left unfolded as well, so that normalisations and depthwise convolutions follow.
    network = build_network(name, input_shape=shape, num_outputs=10, seed=seed, arguments=arguments).eval()
    generator = torch.Generator().manual_seed(seed)
    orders = [
        None if group.fixed else torch.randperm(group.channels, generator=generator).tolist()
        for group in channel_groups(network.architecture)
    ]
    x = inputs(network)
    before, after = network(x), reordered(network, orders)(x)
    assert (before - after).abs().max() <= 1e-5 * before.abs().max()


def test_orders_that_do_not_fit_are_refused() -> None:
    network = fused("mlp", (5,), widths=[4, 3])
    with pytest.raises(ValueError, match="2 orders for 3 groups"):
        reordered(network, [None, None])
    with pytest.raises(ValueError, match="'hidden1' needs each of 0 to 3 once"):
        reordered(network, [[0, 1, 2, 2], None, None])
    with pytest.raises(ValueError, match="'classifier' is fixed"):
        reordered(network, [None, None, list(range(10))])
