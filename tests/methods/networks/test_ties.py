"""What ties promise: every site in one group, and those together whose outputs a sum adds channel by channel."""

from __future__ import annotations

from itertools import chain

import pytest

from methods.networks.architecture import Architecture, Node
from methods.networks.catalog import design_network, network_names
from methods.networks.ties import convolution_sites, meeting_sums, tied_sites
from tests.methods.networks.samples import HAND_BUILT, conv, drawn_by_chance, linear, norm, relu


def of_catalog(name: str) -> Architecture:
    return design_network(name, input_shape=(3, 32, 32), num_outputs=10)


def widths(architecture: Architecture) -> list[int]:
    return [architecture.shapes[node.name][0] for node in architecture.nodes if node.op == "relu"]


@pytest.mark.parametrize("name", ["rescnn_cnnsplitter", "rescnn_gradsplitter"])
def test_rescnn_has_nine_masks_for_its_twelve_convolutions(name: str) -> None:
    architecture = of_catalog(name)
    groups = tied_sites(architecture)
    assert groups == ((0,), (1, 3), (2,), (4,), (5, 7), (6,), (8,), (9, 11), (10,))
    units = widths(architecture)
    assert sum(units[group[0]] for group in groups) == 3136
    assert sum(units[index] for group in groups for index in group) == 4288


def test_networks_without_sums_or_with_relus_behind_them_have_no_ties() -> None:
    for name in set(network_names()) - {"rescnn_cnnsplitter", "rescnn_gradsplitter"}:
        architecture = of_catalog(name)
        assert tied_sites(architecture) == tuple((index,) for index in range(len(widths(architecture)))), name


def test_three_sites_are_tied_through_all_that_keeps_channels_apart() -> None:
    """Pooling, normalisation, a depthwise convolution, dropout and one sum inside another; a convolution ties none."""
    sites = [node.name for node in HAND_BUILT["tied"]().nodes if node.op == "relu"]
    assert sites == ["r1", "r2", "r3", "r4", "hidden_relu"]
    assert tied_sites(HAND_BUILT["tied"]()) == ((0, 2, 3), (1,), (4,))


def test_ties_of_several_sums_add_up() -> None:
    """The second sum reads a site of the first, not the sum; the third is of other sites."""
    branches = [(conv(f"c{number}", "input", (1, 3)), relu(f"r{number}", f"c{number}")) for number in range(1, 6)]
    nodes = (
        Node("input", "input"),
        *chain.from_iterable(branches),
        Node("s1", "add", ("r5", "r1")),
        Node("s2", "add", ("r3", "r5")),
        Node("s3", "add", ("r2", "r4", "r2")),
        Node("joined", "concat", ("s1", "s2", "s3")),
        Node("pool", "global_avg_pool", ("joined",)),
        linear("out", "pool", (9, 2)),
    )
    assert tied_sites(Architecture(nodes, (1, 4, 4))) == ((0, 2, 4), (1, 3))


@pytest.mark.parametrize("between", ["relu", "conv2d", "concat", "select", "flatten"])
def test_ties_end_where_channels_are_made_anew_or_moved(between: str) -> None:
    nodes = [Node("input", "input"), conv("c1", "input", (1, 2)), relu("r1", "c1"), conv("c2", "r1", (2, 2))]
    nodes.append(relu("r2", "c2"))
    if between == "relu":
        nodes += [norm("n", "r1", 2), relu("r3", "n")]
        left, right = "r3", "r2"
    elif between == "conv2d":
        nodes += [conv("c3", "r1", (2, 2))]
        left, right = "c3", "r2"
    elif between == "concat":
        nodes += [Node("left", "concat", ("r1", "r2")), Node("right", "concat", ("r2", "r1"))]
        left, right = "left", "right"
    elif between == "select":
        nodes += [Node("left", "select", ("r1",), {"indices": [1, 0]})]
        left, right = "left", "r2"
    else:
        nodes += [Node("left", "flatten", ("r1",)), Node("right", "flatten", ("r2",))]
        left, right = "left", "right"
    nodes.append(Node("sum", "add", (left, right)))
    features = {"concat": 4, "flatten": 32}.get(between, 2)
    top = "sum"
    if between != "flatten":
        nodes.append(Node("pool", "global_avg_pool", ("sum",)))
        top = "pool"
    nodes.append(linear("out", top, (features, 2)))
    found = tied_sites(Architecture(tuple(nodes), (1, 4, 4)))
    # Behind the third ReLU it is that one which is tied to the second, and the first to none.
    assert found == (((0,), (1, 2)) if between == "relu" else ((0,), (1,)))


@pytest.mark.parametrize("seed", range(24))
def test_every_site_is_in_exactly_one_group_of_equal_widths(seed: int) -> None:
    architecture = drawn_by_chance(seed)
    groups = tied_sites(architecture)
    units = widths(architecture)
    assert sorted(index for group in groups for index in group) == list(range(len(units)))
    assert [group[0] for group in groups] == sorted(min(group) for group in groups)
    for group in groups:
        assert list(group) == sorted(group)
        assert len({units[index] for index in group}) == 1


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("simcnn_cnnsplitter", 13),
        ("simcnn_gradsplitter", 13),
        ("rescnn_cnnsplitter", 12),
        ("incecnn_gradsplitter", 12),
        ("resnet20", 19),
        ("mlp", 0),
    ],
)
def test_sites_of_convolutions_are_those_with_a_height_and_a_width(name: str, count: int) -> None:
    assert convolution_sites(of_catalog(name)) == tuple(range(count))


def test_a_site_behind_pooling_over_the_whole_image_is_none_of_a_convolution() -> None:
    nodes = (
        Node("input", "input"),
        conv("c1", "input", (1, 2)),
        Node("pool", "global_avg_pool", ("c1",)),
        relu("r1", "pool"),
        linear("out", "r1", (2, 2)),
    )
    assert convolution_sites(Architecture(nodes, (1, 4, 4))) == ()


def test_tied_sites_meet_in_the_last_sum_of_any_of_them() -> None:
    assert meeting_sums(of_catalog("rescnn_cnnsplitter")) == {(1, 3): "sum3", (5, 7): "sum7", (9, 11): "sum11"}
    assert meeting_sums(of_catalog("simcnn_cnnsplitter")) == {}
    tied = HAND_BUILT["tied"]()
    assert meeting_sums(tied) == {(0, 2, 3): [node.name for node in tied.nodes if node.op == "add"][-1]}
