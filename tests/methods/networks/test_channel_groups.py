from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.networks.architecture import Architecture, Node
from methods.networks.build import build_network, initialise
from methods.networks.catalog import design_network
from methods.networks.channel_groups import ChannelGroup, channel_groups
from methods.networks.graph import Network
from methods.networks.reordering import reordered
from tests.methods.morphing.networks import fused, inputs
from tests.methods.networks.samples import (
    HAND_BUILT,
    conv,
    disturbed,
    linear,
    norm,
    random_inputs,
    relu,
    sample_network,
)


def test_a_resnet_20_has_13_groups_of_which_the_logits_are_fixed() -> None:
    groups = channel_groups(design_network("resnet20", input_shape=(3, 32, 32), num_outputs=10))
    assert len(groups) == 13
    assert [group.writers for group in groups if group.fixed] == [("classifier",)]
    stream = groups[0]
    assert stream.writers == ("stem_conv", "stage1_block1_b_conv", "stage1_block2_b_conv", "stage1_block3_b_conv")
    assert "stage2_block1_shortcut_conv" in stream.readers
    assert sum(len(group.writers) for group in groups) == 22


def test_the_groups_of_a_resnet_20_hold_every_axis_but_that_of_the_pixels_once() -> None:
    architecture = design_network("resnet20", input_shape=(3, 32, 32), num_outputs=10)
    groups = channel_groups(architecture)
    layers = [node.name for node in architecture.nodes if node.op in ("conv2d", "linear")]
    norms = [node.name for node in architecture.nodes if node.op == "batch_norm"]
    assert sorted(name for group in groups for name in group.writers) == sorted(layers)
    assert sorted(name for group in groups for name in group.carriers) == sorted(norms)
    assert sorted(name for group in groups for name in group.readers) == sorted(set(layers) - {"stem_conv"})
    assert sorted(group.channels for group in groups) == sorted([10] + [16] * 4 + [32] * 4 + [64] * 4)


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
    _assert_any_order_computes_the_same(network, inputs(network), seed=seed)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**16))
def test_any_order_leaves_graphs_drawn_by_chance_as_they_are(seed: int) -> None:
    network = sample_network(f"chance{seed}")
    _assert_any_order_computes_the_same(network, random_inputs(network, seed=seed), seed=seed)


@pytest.mark.parametrize("name", HAND_BUILT)
def test_any_order_leaves_hand_built_graphs_as_they_are(name: str) -> None:
    network = sample_network(name)
    _assert_any_order_computes_the_same(network, random_inputs(network, seed=1), seed=1)


def test_a_normalisation_of_flattened_maps_follows_by_channels_of_several_features() -> None:
    network = _flattened(norm("n", "flat", 64), relu("r2", "n"), linear("out", "r2", (64, 3)))
    assert channel_groups(network.architecture)[0] == ChannelGroup(4, ("c1",), ("n",), ("out",), fixed=False)
    _assert_any_order_computes_the_same(network, random_inputs(network, seed=1), seed=1)


@pytest.mark.parametrize("sources", [("flat", "h"), ("h", "flat")])
def test_a_sum_of_flattened_maps_and_single_features_fixes_both(sources: tuple[str, str]) -> None:
    network = _flattened(linear("h", "flat", (64, 64)), Node("sum", "add", sources), linear("out", "sum", (64, 3)))
    assert [(group.writers, group.fixed) for group in channel_groups(network.architecture)] == [
        (("c1",), True),
        (("h",), True),
        (("out",), True),
    ]


def test_the_network_reordered_is_left_alone() -> None:
    network = fused("mlp", (5,), widths=[4, 3])
    before = {key: value.clone() for key, value in network.state_dict().items()}
    found = reordered(network, [[3, 1, 0, 2], None, None])
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    weights = found.state_dict()
    assert torch.equal(weights["nodes.hidden1.weight"], before["nodes.hidden1.weight"][[3, 1, 0, 2]])
    assert torch.equal(weights["nodes.hidden1.bias"], before["nodes.hidden1.bias"][[3, 1, 0, 2]])
    assert torch.equal(weights["nodes.hidden2.weight"], before["nodes.hidden2.weight"][:, [3, 1, 0, 2]])


def _assert_any_order_computes_the_same(network: Network, x: torch.Tensor, *, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    orders = [
        None if group.fixed else torch.randperm(group.channels, generator=generator).tolist()
        for group in channel_groups(network.architecture)
    ]
    before, after = network(x), reordered(network, orders)(x)
    assert (before - after).abs().max() <= 1e-5 * before.abs().max()


def _flattened(*head: Node) -> Network:
    """Four channels of 16 pixels each, flattened, and what comes behind."""
    body = (Node("input", "input"), conv("c1", "input", (1, 4)), relu("r1", "c1"), Node("flat", "flatten", ("r1",)))
    network = Network(Architecture((*body, *head), (1, 4, 4)))
    initialise(network, seed=0)
    return disturbed(network, 0).eval()


def test_orders_that_do_not_fit_are_refused() -> None:
    network = fused("mlp", (5,), widths=[4, 3])
    with pytest.raises(ValueError, match="2 orders for 3 groups"):
        reordered(network, [None, None])
    with pytest.raises(ValueError, match="'hidden1' needs each of 0 to 3 once"):
        reordered(network, [[0, 1, 2, 2], None, None])
    with pytest.raises(ValueError, match="'classifier' is fixed"):
        reordered(network, [None, None, list(range(10))])
