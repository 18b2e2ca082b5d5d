"""What dropout promises: noise of the right size in training, from a generator that one holds, and none elsewhere."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from methods.networks.dropout import Dropout, draw_dropout_from, switch_off_dropout
from methods.networks.graph import Network, Rewired
from tests.methods.networks.samples import random_inputs, sample_network

NAMES = ["tied", "simcnn_cnnsplitter", "rescnn_gradsplitter", "incecnn_gradsplitter"]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def in_training(name: str = "tied", *, seed: int = 0) -> Network:
    network = sample_network(name).train()
    draw_dropout_from(network, seeded(seed))
    return network


@pytest.mark.parametrize("probability", [0.1, 0.4, 0.5])
def test_that_share_of_values_becomes_zero_and_the_others_make_up_for_it(probability: float) -> None:
    layer = Dropout(probability)
    layer.generator = seeded()
    x = torch.full((200, 500), 3.0, requires_grad=True)
    y = layer(x)
    gone = y == 0
    assert gone.float().mean().item() == pytest.approx(probability, abs=0.005)
    assert torch.allclose(y[~gone], torch.tensor(3 / (1 - probability)))
    assert y.mean().item() == pytest.approx(3.0, rel=0.01)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, y.detach() / 3), "what is dropped passes no gradient back, the rest is scaled alike"


def test_evaluation_hands_its_input_on() -> None:
    x = torch.ones(2, 3)
    assert Dropout(0.5).eval()(x) is x


def test_training_without_a_generator_is_refused_with_how_to_mend_it() -> None:
    network = sample_network("tied").train()
    with pytest.raises(ValueError, match=r"without a generator; train the network by a Learner, call draw_dropout"):
        network(random_inputs(network, seed=0))


@pytest.mark.parametrize("name", NAMES)
def test_outputs_in_training_follow_from_the_generator_alone(name: str) -> None:
    network = in_training(name)
    x = random_inputs(network, seed=0, samples=8)
    before = torch.get_rng_state()
    first, second = network(x), network(x)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first, second)
    torch.manual_seed(7)
    draw_dropout_from(network, seeded())
    assert torch.equal(network(x), first)
    assert torch.equal(network(x), second)
    draw_dropout_from(network, seeded(1))
    assert not torch.equal(network(x), first)


def test_a_stored_generator_goes_on_where_it_was() -> None:
    network = in_training()
    x = random_inputs(network, seed=0, samples=8)
    generator = seeded()
    draw_dropout_from(network, generator)
    network(x)
    state = generator.get_state()
    wanted = network(x)
    other = torch.Generator()
    other.set_state(state)
    draw_dropout_from(network, other)
    assert torch.equal(network(x), wanted)


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_pickles_in_training_draw_from_no_generator_until_they_have_their_own(name: str) -> None:
    network = in_training(name)
    x = random_inputs(network, seed=0, samples=8)
    wanted = network(x)
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert twin.training
        with pytest.raises(ValueError, match="without a generator"):
            twin(x)
        draw_dropout_from(twin, seeded())
        assert torch.equal(twin(x), wanted)
    draw_dropout_from(network, seeded())
    assert torch.equal(network(x), wanted), "the original has kept its own"


def test_dropout_alone_is_switched_off_and_comes_back_with_the_mode() -> None:
    network = in_training()
    x = random_inputs(network, seed=0, samples=8)
    noisy = network(x)
    switch_off_dropout(network)
    assert torch.equal(network(x), network(x))
    others = [layer for layer in network.modules() if not isinstance(layer, Dropout)]
    assert all(layer.training for layer in others)
    draw_dropout_from(network.train(), seeded())
    assert torch.equal(network(x), noisy)


def test_dropout_works_under_bfloat16_autocast_channels_last() -> None:
    network = in_training()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = random_inputs(network, seed=0, samples=8).contiguous(memory_format=torch.channels_last)
    wanted = network(x)
    draw_dropout_from(network, seeded())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(x)
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.float(), wanted, atol=0.05 * wanted.abs().max().item())


@pytest.mark.parametrize("probability", [0.4, 0.5])
def test_type_and_memory_format_pass_through(probability: float) -> None:
    layer = Dropout(probability)
    layer.generator = seeded()
    x = torch.ones(2, 3, 4, 4, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    y = layer(x)
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_the_factor_is_not_rounded_to_bfloat16_before_it_is_used() -> None:
    layer = Dropout(0.4)
    layer.generator = seeded()
    x = torch.linspace(1, 2, 129).bfloat16()
    y = layer(x)
    kept = y != 0
    assert torch.equal(y[kept], (x[kept].float() * (1 / 0.6)).bfloat16())
    assert not torch.equal(y[kept], x[kept] * torch.tensor(1 / 0.6).bfloat16())


def test_dropout_inside_a_rewired_network_is_found() -> None:
    network = sample_network("tied").train()
    rewired = Rewired(network, {"c1": network.nodes["c1"]})
    draw_dropout_from(rewired, seeded())
    x = random_inputs(network, seed=0, samples=8)
    found = rewired(x)
    draw_dropout_from(network, seeded())
    assert torch.equal(network(x), found)


def test_a_network_without_dropout_is_left_as_it_is() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    draw_dropout_from(network, seeded())
    switch_off_dropout(network)
    assert all(layer.training for layer in network.modules())
