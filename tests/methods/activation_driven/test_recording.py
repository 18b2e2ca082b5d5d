from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from methods.activation_driven.losses import activation_losses
from methods.activation_driven.recording import RecordingNetwork, modular_loss
from methods.data.normalise import normalise
from methods.networks.architecture import Architecture, Node
from methods.networks.graph import Network
from methods.tasks import PreparedTask
from methods.training.learner import Learner
from methods.training.loop import default_loss, evaluate, train_epoch
from tests.methods.small_tasks import a_task, a_task_with_dropout, same_weights

WEIGHTS = {"affinity": 1.0, "dispersion": 1.0, "compactness": 0.3}
NO_WEIGHTS = dict.fromkeys(WEIGHTS, 0.0)


@pytest.fixture(scope="module")
def digits() -> PreparedTask:
    return a_task("digits", "small_cnn", epochs=1, fraction=0.2)


@pytest.fixture(scope="module")
def iris() -> PreparedTask:
    return a_task("iris", "mlp", widths=[16, 16], epochs=1, batch_size=16)


def _inputs(task: PreparedTask, count: int = 12) -> Tensor:
    shape = (count, *task.info.input_shape)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _learner(network: RecordingNetwork | Network) -> Learner[Any]:
    return Learner(network, momentum=0.9, weight_decay=0.0, seed=0)


@pytest.mark.parametrize("source", ["digits", "iris"])
def test_what_is_recorded_is_the_pooled_output_of_every_site(source: str, request: pytest.FixtureRequest) -> None:
    task: PreparedTask = request.getfixturevalue(source)
    network = task.network().double()
    recording = RecordingNetwork(network).train()
    inputs = _inputs(task).double()
    logits, *pooled = recording(inputs).split([task.info.num_outputs, *recording.widths], dim=1)
    run = network.run(inputs, record=True)
    assert torch.allclose(logits, run.logits, rtol=0, atol=1e-12)
    for found, site, activation in zip(pooled, network.sites, run.activations.values(), strict=True):
        assert found.shape == (12, site.units)
        wanted = activation.mean(dim=(2, 3)) if activation.dim() == 4 else activation
        assert torch.allclose(found, wanted, rtol=0, atol=1e-12)


def test_dropout_inside_is_trained_with_the_learner_s_numbers() -> None:
    task = a_task_with_dropout(epochs=1, fraction=0.2)
    recording = RecordingNetwork(task.network())
    loss = modular_loss(task, recording, **NO_WEIGHTS)
    train_epoch(_learner(recording), task, learning_rate=0.05, loss=loss, reading=recording.logits)
    plain = task.network()
    train_epoch(_learner(plain), task, learning_rate=0.05)
    assert same_weights(recording.network, plain)


def test_evaluation_gives_the_logits_alone_as_the_network_has_them(digits: PreparedTask) -> None:
    recording = RecordingNetwork(digits.network()).eval()
    inputs = _inputs(digits)
    assert torch.equal(recording(inputs), recording.network(inputs))
    assert evaluate(recording, digits.validation, digits, reading=recording.logits) == evaluate(
        recording.network, digits.validation, digits
    )


def test_under_autocast_the_means_are_float32_of_bfloat16_maps(digits: PreparedTask) -> None:
    recording = RecordingNetwork(digits.network()).train()
    inputs = _inputs(digits).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = recording(inputs)
        run = recording.network.run(inputs, record=True)
    assert outputs.dtype == torch.float32
    _, *pooled = outputs.split([digits.info.num_outputs, *recording.widths], dim=1)
    maps = [activation for activation in run.activations.values() if activation.dim() == 4]
    assert {activation.dtype for activation in maps} == {torch.bfloat16}
    for found, activation in zip(pooled, run.activations.values(), strict=True):
        exact = activation.double().mean(dim=(2, 3)) if activation.dim() == 4 else activation.double()
        assert torch.allclose(found.double(), exact, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("source", ["digits", "iris"])
def test_the_gradient_of_every_weight_is_that_of_plain_autograd(source: str, request: pytest.FixtureRequest) -> None:
    task: PreparedTask = request.getfixturevalue(source)
    network = task.network().double()
    recording = RecordingNetwork(network).train()
    inputs, labels = _inputs(task).double(), torch.arange(12) % 3
    loss = modular_loss(task, recording, **WEIGHTS)
    found = torch.autograd.grad(loss(recording(inputs), labels), list(network.parameters()))

    run = network.run(inputs, record=True)
    affinity, dispersion, compactness = activation_losses(list(run.activations.values()), labels)
    total = F.cross_entropy(run.logits, labels) + affinity + dispersion + 0.3 * compactness
    for one, other in zip(found, torch.autograd.grad(total, list(network.parameters())), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def test_training_lowers_the_three_losses(digits: PreparedTask) -> None:
    def after_epochs(weights: dict[str, float]) -> float:
        network = RecordingNetwork(digits.network(), record=any(weights.values()))
        learner = _learner(network)
        for _ in range(15):
            train_epoch(
                learner,
                digits,
                learning_rate=0.02,
                loss=modular_loss(digits, network, **weights),
                reading=network.logits,
            )
        inputs, labels = normalise(digits.train.inputs, digits.normalization), digits.train.targets
        run = network.network.eval().run(inputs, record=True)
        affinity, dispersion, compactness = activation_losses(list(run.activations.values()), labels)
        return float((affinity + dispersion + 0.3 * compactness).detach())

    assert after_epochs(WEIGHTS) < after_epochs(NO_WEIGHTS) - 0.05


def test_without_weights_training_is_the_plain_one_bit_for_bit(digits: PreparedTask) -> None:
    plain, recording = digits.network(), RecordingNetwork(digits.network(), record=False)
    one = train_epoch(_learner(plain), digits, learning_rate=0.05)
    loss = modular_loss(digits, recording, **NO_WEIGHTS)
    other = train_epoch(_learner(recording), digits, learning_rate=0.05, loss=loss, reading=recording.logits)
    assert one == other
    assert same_weights(plain, recording.network)
    assert recording.train()(_inputs(digits)).shape == (12, 10)


def test_the_loss_on_the_logits_heeds_the_weights_of_classes(iris: PreparedTask) -> None:
    task = replace(iris, class_weights=torch.tensor([0.5, 2.0, 1.0]))
    recording = RecordingNetwork(task.network()).train()
    outputs, labels = recording(_inputs(task)), torch.arange(12) % 3
    plain = float(default_loss(task)(outputs[:, :3], labels).detach())
    _, *pooled = outputs.split([3, *recording.widths], dim=1)
    affinity = float(activation_losses(pooled, labels).affinity.detach())
    weights = NO_WEIGHTS | {"affinity": 2.0}
    found = float(modular_loss(task, recording, **weights)(outputs, labels).detach())
    assert found == pytest.approx(plain + 2 * affinity, rel=1e-5)


def test_the_accuracy_of_an_epoch_is_that_of_the_logits(iris: PreparedTask) -> None:
    recording = RecordingNetwork(iris.network())
    loss = modular_loss(iris, recording, **WEIGHTS)
    stats = train_epoch(_learner(recording), iris, learning_rate=0.0, loss=loss, reading=recording.logits)
    plain = train_epoch(_learner(iris.network()), iris, learning_rate=0.0)
    assert stats.accuracy == plain.accuracy
    assert stats.loss > plain.loss


def test_bad_weights_tasks_and_networks_are_refused(iris: PreparedTask) -> None:
    recording = RecordingNetwork(iris.network())
    for weight in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"weight of dispersion is .*finite number"):
            modular_loss(iris, recording, affinity=1.0, dispersion=weight, compactness=0.3)
    with pytest.raises(ValueError, match="record=False"):
        modular_loss(iris, RecordingNetwork(iris.network(), record=False), **WEIGHTS)
    diabetes = a_task("diabetes", "mlp", epochs=1)
    with pytest.raises(ValueError, match=r"diabetes is a regression"):
        modular_loss(diabetes, RecordingNetwork(diabetes.network()), **WEIGHTS)
    linear = Node("out", "linear", ("input",), {"in_features": 4, "out_features": 3})
    without_relu = Network(Architecture((Node("input", "input"), linear), (4,)))
    with pytest.raises(ValueError, match="no ReLU"):
        RecordingNetwork(without_relu)
