from __future__ import annotations

import pytest

from methods.measure.compute import count_macs
from methods.metamorphic.growth import growth_order, inner_width
from methods.morphing.parts import morphing_parts, units_at, widest
from methods.networks.architecture import Architecture
from methods.networks.catalog import design_network
from methods.networks.folding import fold_batch_norm
from methods.networks.graph import Network
from methods.networks.resizing import with_units
from tests.methods.morphing.networks import fused


def _architecture(name: str, input_shape: tuple[int, ...] = (3, 32, 32)) -> Architecture:
    return design_network(name, input_shape=input_shape, num_outputs=10)


def test_the_parts_of_a_resnet_56_are_the_growth_order_of_its_paper() -> None:
    parts = morphing_parts(_architecture("resnet56"))
    expected = [(stage, block) for stage, last in ((1, 8), (2, 8), (3, 7)) for block in range(1, last + 1)]
    assert [(part.stage, part.block) for part in parts] == expected
    assert [(step.stage, step.block) for step in growth_order()] == expected
    assert widest(parts) == 64


def test_neural_metamorphosis_morphs_the_last_block_alone() -> None:
    (part,) = morphing_parts(_architecture("resnet20"), blocks="last")
    assert (part.stage, part.block) == (3, 2)
    assert [layer.name for layer in part.layers] == ["stage3_block3_a_conv", "stage3_block3_b_conv"]


def test_all_blocks_are_those_that_change_the_shape_too() -> None:
    parts = morphing_parts(_architecture("resnet20"), blocks="all")
    assert [(part.stage, part.block) for part in parts] == [(stage, block) for stage in (1, 2, 3) for block in range(3)]
    assert [part.total is None for part in parts] == [False, False, False, True, False, False, True, False, False]


@pytest.mark.parametrize("blocks", ["inner", "all", "last"])
def test_folding_normalisation_leaves_the_parts_as_they_are(blocks: str) -> None:
    network = fused("resnet20")
    assert morphing_parts(network.architecture, blocks=blocks) == morphing_parts(
        _architecture("resnet20"), blocks=blocks
    )


@pytest.mark.parametrize(
    ("name", "shape", "sites"),
    [
        ("small_cnn", (1, 8, 8), ["conv1_relu", "conv2_relu", "hidden_relu"]),
        ("lenet5", (1, 28, 28), ["conv1_relu", "conv2_relu", "hidden1_relu", "hidden2_relu"]),
        ("mlp", (30,), ["hidden1_relu", "hidden2_relu"]),
    ],
)
def test_a_network_without_sums_morphs_as_a_whole(name: str, shape: tuple[int, ...], sites: list[str]) -> None:
    (part,) = morphing_parts(_architecture(name, shape))
    assert list(part.sites) == sites
    assert part.layers[0].input_site is None
    assert part.layers[-1].output_site is None


@pytest.mark.parametrize(
    ("name", "node"),
    [("mobilenet", "block1_a_conv"), ("rescnn_gradsplitter", "sum3"), ("incecnn_gradsplitter", "pool1")],
)
def test_a_network_whose_blocks_cannot_change_width_is_refused_by_the_node_in_the_way(name: str, node: str) -> None:
    with pytest.raises(ValueError, match=f"node '{node}'.*cannot change by itself.*use"):
        morphing_parts(_architecture(name))


def test_units_are_rounded_half_to_even_as_the_paper_has_it() -> None:
    parts = morphing_parts(_architecture("resnet56"))
    for h in range(3, 81):
        units = units_at(parts, h / 64)
        for part in parts:
            assert units[part.sites[0]] == inner_width(h, part.layers[0].outputs)
    assert [units_at(parts, 33 / 64)[f"stage{stage}_block2_a_relu"] for stage in (1, 2, 3)] == [8, 16, 33]


@pytest.mark.parametrize("width", [0.0, -1.0, 0.01])
def test_a_width_without_units_is_refused_with_the_least_that_has(width: float) -> None:
    with pytest.raises(ValueError, match="leaves a layer of 16 units none; give a width above 1/32"):
        units_at(morphing_parts(_architecture("resnet20")), width)


@pytest.mark.parametrize(
    ("h", "parameters", "macs"),
    [(64, 859_492, 125.75e6), (48, 684_180, 98.62e6), (32, 508_868, 71.49e6), (16, 333_556, 44.36e6)],
)
def test_sizes_of_a_morphed_resnet_56_are_those_of_the_specification(h: int, parameters: int, macs: float) -> None:
    full = fold_batch_norm(Network(design_network("resnet56", input_shape=(3, 32, 32), num_outputs=100))).architecture
    network = Network(with_units(full, units_at(morphing_parts(full), h / 64)))
    shortcuts = sum(
        value.numel() for name, value in network.named_parameters() if "shortcut" in name and name.endswith("bias")
    )
    assert shortcuts == 96
    assert sum(value.numel() for value in network.parameters()) == parameters
    assert count_macs(network, (3, 32, 32)) == pytest.approx(macs, rel=1e-3)
