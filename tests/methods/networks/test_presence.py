"""What presence promises: every row is told apart, and what it marks is what surgery keeps."""

from __future__ import annotations

import pytest
import torch

from methods.networks.architecture import Architecture, Node
from methods.networks.catalog import network_names
from methods.networks.presence import present_channels
from methods.surgery import extract
from tests.methods.networks.samples import HAND_BUILT, conv, linear, mobile, norm, random_keeps, relu, sample_network

CHANCE = tuple(f"chance{seed}" for seed in range(24))


@pytest.mark.parametrize("name", [*network_names(), *HAND_BUILT, *CHANCE])
def test_many_keep_sets_at_once_are_the_same_as_one_by_one(name: str) -> None:
    network = sample_network(name)
    kept, outputs = random_keeps(network, rows=7)
    together = present_channels(network.architecture, kept, outputs)
    for row in range(7):
        one = slice(row, row + 1)
        alone = present_channels(network.architecture, {site: mask[one] for site, mask in kept.items()}, outputs[one])
        assert all(torch.equal(together[node][one], alone[node]) for node in together)


@pytest.mark.parametrize("name", [*network_names(), *HAND_BUILT, *CHANCE])
def test_present_units_are_those_of_the_network_that_surgery_cuts(name: str) -> None:
    network = sample_network(name)
    kept, outputs = random_keeps(network, rows=7)
    present = present_channels(network.architecture, kept, outputs)
    for row in range(7):
        keep = {site: mask[row] for site, mask in kept.items()}
        cut = extract(network, keep, outputs[row].nonzero().flatten().tolist())
        units = {site.name: int(present[site.name][row].sum()) for site in network.sites}
        assert {site.name: site.units for site in cut.sites} == {site: count for site, count in units.items() if count}


def test_site_that_is_left_out_keeps_all() -> None:
    architecture = mobile()
    present = present_channels(architecture, {}, torch.ones(2, 4, dtype=torch.bool))
    assert all(mask.all() for mask in present.values())
    assert {name: tuple(mask.shape) for name, mask in present.items()} == {
        name: (2, shape[0]) for name, shape in architecture.shapes.items()
    }


def test_depthwise_convolution_by_hand() -> None:
    """Before it stay the units kept on both sides; of its own those of its site, be they fed with zeros."""
    nodes = (
        Node("input", "input"),
        conv("c1", "input", (1, 4)),
        norm("n1", "c1", 4),
        relu("before", "n1"),
        conv("depth", "before", (4, 4), groups=4),
        norm("n2", "depth", 4),
        relu("after", "n2"),
        Node("pool", "global_avg_pool", ("after",)),
        linear("out", "pool", (4, 2)),
    )
    kept = {
        "before": torch.tensor([[True, True, False, False], [False, False, False, True]]),
        "after": torch.tensor([[False, True, True, False], [True, True, True, False]]),
    }
    present = present_channels(Architecture(nodes, (1, 3, 3)), kept, torch.eye(2, dtype=torch.bool))
    both = (kept["before"] & kept["after"]).tolist()
    assert [present[name].tolist() for name in ("c1", "n1", "before")] == [both] * 3
    assert [present[name].tolist() for name in ("depth", "n2", "after", "pool")] == [kept["after"].tolist()] * 4
    assert present["input"].tolist() == [[True], [True]]
    assert present["out"].tolist() == [[True, False], [False, True]]


def test_channel_read_by_several_outputs_of_a_select_is_needed_when_any_of_them_is() -> None:
    nodes = (
        Node("input", "input"),
        linear("a", "input", (2, 3)),
        relu("ra", "a"),
        Node("some", "select", ("ra",), {"indices": [2, -1, 2, 0]}),
        norm("n", "some", 4),
        relu("rn", "n"),
        linear("out", "rn", (4, 2)),
    )
    kept = {"rn": torch.tensor([[True, True, False, False], [False, False, True, False], [False, True, False, True]])}
    present = present_channels(Architecture(nodes, (2,)), kept, torch.ones(3, 2, dtype=torch.bool))
    assert present["ra"].tolist() == [[False, False, True], [False, False, True], [True, False, False]]
    assert present["some"].tolist() == [
        [True, False, False, False],
        [False, False, True, False],
        [False, False, False, True],
    ]
