from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.func import functional_call

from methods.contract import SilentMonitor, UnsupportedTask
from methods.morphing.parts import morphing_parts, units_at
from methods.morphing.tensors import own_tensors
from methods.networks.architecture import Architecture, Node
from methods.networks.build import build_network, initialise
from methods.networks.graph import Network
from methods.networks.resizing import with_units
from methods.slimmable.config import SlimmableConfig, SlimmableGatedConfig
from methods.slimmable.method import Slimmable
from methods.slimmable.sandwich import Sandwich
from methods.slimmable.slicing import SlicedWeights, sliced
from methods.surgery import extract
from methods.training.loop import evaluate
from tests.methods.morphing.networks import fused, inputs
from tests.methods.small_tasks import a_task


@pytest.mark.parametrize(("name", "shape"), [("resnet20", (3, 16, 16)), ("small_cnn", (1, 8, 8)), ("mlp", (9,))])
def test_a_slice_computes_what_the_network_does_without_its_last_units(name: str, shape: tuple[int, ...]) -> None:
    network = build_network(name, input_shape=shape, num_outputs=10, seed=0).eval()
    parts = morphing_parts(network.architecture)
    units = units_at(parts, 0.6)
    narrow = Network(with_units(network.architecture, units)).eval()
    x = inputs(network)
    found = functional_call(narrow, sliced(network, narrow), (x,))
    keep = {site.name: torch.arange(site.units) < units.get(site.name, site.units) for site in network.sites}
    torch.testing.assert_close(found, extract(network, keep)(x), rtol=1e-4, atol=1e-5)


def test_sliced_weights_are_views_whose_gradients_reach_the_whole() -> None:
    network = fused("mlp", (5,), widths=[4, 6])
    parts = morphing_parts(network.architecture)
    source = SlicedWeights(parts, own_tensors(network, parts))
    source.grow(1)
    narrow, full = source.tensors([0.5, 1.0], generator=torch.Generator())
    assert [tuple(tensor.shape) for tensor in narrow] == [(2, 5), (2,), (3, 2), (3,), (10, 3), (10,)]
    assert torch.equal(narrow[0], full[0][:2])
    narrow[0].sum().backward()
    assert source.full[0].grad is not None
    assert source.full[0].grad.sum(dim=1).tolist() == [5.0, 5.0, 0.0, 0.0]


def test_statistics_are_those_of_the_calibration_batches_at_that_width() -> None:
    task = a_task("digits", "small_cnn", epochs=1, fraction=0.2)
    network = task.network()
    config = SlimmableConfig(calibration_batches=3)
    training = Sandwich(network, morphing_parts(network.architecture), task, config)
    half = training.at(0.5)
    assert half.nodes["norm1"].num_batches_tracked == 3
    assert half.nodes["norm1"].running_mean.shape == (8,)
    assert not torch.equal(half.nodes["norm1"].running_mean, torch.zeros(8))
    # The training network's own statistics and weights are not touched.
    assert network.nodes["norm1"].num_batches_tracked == 0
    again = training.at(0.5)
    assert torch.equal(half.nodes["norm2"].running_var, again.nodes["norm2"].running_var)


def test_every_trained_width_learns() -> None:
    task = a_task("digits", "small_cnn", epochs=12, validation_share=0.2)
    outcome = Slimmable(SlimmableConfig(learning_rate=0.1)).fit(task, {}, SilentMonitor())
    accuracies = {v.settings["width"]: evaluate(v.network, task.validation, task) for v in outcome.variants}
    assert all(accuracy > 0.85 for width, accuracy in accuracies.items() if width >= 0.5)
    assert [v.settings["seen"] for v in outcome.variants] == [False, False, True, True, True, True, True]


def test_a_slice_is_never_wider_than_the_whole() -> None:
    with pytest.raises(ValueError, match="a slice cannot be wider than the whole"):
        SlimmableConfig(widths=(0.5, 1.25))
    with pytest.raises(ValueError, match="highest_width"):
        SlimmableGatedConfig(highest_width=1.25)


def test_networks_that_cannot_be_sliced_are_refused() -> None:
    with pytest.raises(UnsupportedTask, match=r"slimmable: network 'mobilenet'.*cannot change by itself"):
        Slimmable(SlimmableConfig()).check(a_task("digits", "mobilenet", epochs=1).info)


def test_networks_with_dropout_are_trained_and_calibrated() -> None:
    task = a_task("digits", "mlp", epochs=1, fraction=0.1)
    network = _with_dropout()
    training = Sandwich(network, morphing_parts(network.architecture), task, SlimmableConfig())
    training.follow(1, SilentMonitor())
    assert evaluate(training.at(0.5), task.validation, task) >= 0


def test_no_random_width_leaves_a_layer_empty_that_the_lowest_width_does_not() -> None:
    # 0.168 of 61 units is 10.2: with 10 of them, which is 0.164, the layer of three would have none.
    task = a_task("digits", "mlp", epochs=3, widths=[61, 3], fraction=0.3)
    method = Slimmable(SlimmableConfig(lowest_width=0.168, widths=(0.5, 1.0)))
    method.check(task.info)
    assert method.fit(task, {}, SilentMonitor()).epochs == 3


def test_weights_of_classes_count_at_narrow_widths_too() -> None:
    task = a_task("digits", "mlp", epochs=1, fraction=0.1, widths=[8])
    network = task.network()
    parts = morphing_parts(network.architecture)
    inputs_ND, targets = torch.randn(6, 64), torch.arange(6)
    teacher = torch.randn(6, 10)
    found = []
    for weights in (None, torch.ones(10), torch.tensor([4.0, *[2 / 3] * 9])):
        training = Sandwich(network, parts, replace(task, class_weights=weights), SlimmableConfig())
        found.append(float(training._backward(inputs_ND, targets, width=0.5, teacher=teacher)[1]))
    assert found[0] == pytest.approx(found[1])
    assert found[2] != pytest.approx(found[0])


def test_widths_in_training_hold_no_weights_of_their_own() -> None:
    task = a_task("digits", "small_cnn", epochs=1, fraction=0.1)
    network = task.network()
    training = Sandwich(network, morphing_parts(network.architecture), task, SlimmableConfig())
    training.follow(1, SilentMonitor())
    assert all(weight.is_meta for narrow in training._narrow.values() for weight in narrow.parameters())


def _with_dropout() -> Network:
    nodes = (
        Node("input", "input"),
        Node("flat", "flatten", ("input",)),
        Node("hidden", "linear", ("flat",), {"in_features": 64, "out_features": 8}),
        Node("norm", "batch_norm", ("hidden",), {"features": 8}),
        Node("hidden_relu", "relu", ("norm",)),
        Node("drop", "dropout", ("hidden_relu",), {"probability": 0.5}),
        Node("logits", "linear", ("drop",), {"in_features": 8, "out_features": 10}),
    )
    network = Network(Architecture(nodes, (1, 8, 8)))
    initialise(network, seed=0)
    return network
