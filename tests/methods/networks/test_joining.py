"""Joined networks compute what each of them computes."""

from __future__ import annotations

import pytest
import torch

from methods.measure import count_macs, count_parameters
from methods.networks.joining import joined
from tests.methods.networks.samples import random_inputs, sample_network


@pytest.mark.parametrize("name", ["small_cnn", "resnet20", "mlp", "mobile"])
def test_outputs_stand_side_by_side(name: str) -> None:
    branches = [sample_network(name, seed=seed) for seed in range(3)]
    network = joined(branches)
    x = random_inputs(branches[0], seed=0)
    with torch.no_grad():
        assert torch.equal(network(x), torch.cat([branch(x) for branch in branches], dim=1))
    assert not network.training
    assert count_parameters(network) == sum(map(count_parameters, branches))
    shape = branches[0].architecture.input_shape
    assert count_macs(network, shape) == sum(count_macs(branch, shape) for branch in branches)
    assert network.sites[0].name == f"module0_{branches[0].sites[0].name}"


def test_networks_of_several_architectures_can_be_joined() -> None:
    branches = [sample_network("small_cnn"), sample_network("resnet20")]
    x = random_inputs(branches[0], seed=0)
    with torch.no_grad():
        assert torch.equal(joined(branches)(x), torch.cat([branch(x) for branch in branches], dim=1))


def test_one_network_stays_as_it_is() -> None:
    network = sample_network("mlp")
    assert joined([network]) is network


def test_networks_that_read_other_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"branch 1 takes inputs of shape \(2, 6, 6\), the first of shape \(3, 6, 6\)"):
        joined([sample_network("mobile"), sample_network("inception")])
    with pytest.raises(ValueError, match="give at least one"):
        joined([])
