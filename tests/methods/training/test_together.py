"""Networks trained together come out as if each had been trained alone."""

from __future__ import annotations

import pytest
import torch

from methods.contract import SilentMonitor
from methods.networks.build import build_network
from methods.networks.graph import Network
from methods.tasks import PreparedTask
from methods.training.config import TrainingConfig
from methods.training.loop import Phase, evaluate, train
from methods.training.targets import in_standard_units
from methods.training.together import perceptron_layers, train_together
from tests.methods.small_tasks import Lost, Recorder, a_task, a_task_with_dropout, same_weights

ADAM = TrainingConfig(optimizer="adam", learning_rate=0.003, milestones=())
SGD = TrainingConfig(learning_rate=0.05)


def _mlps(task: PreparedTask, *widths: list[int]) -> list[Network]:
    info = task.info
    return [
        build_network(
            "mlp",
            input_shape=info.input_shape,
            num_outputs=info.num_outputs,
            seed=number,
            arguments={"widths": given},
        )
        for number, given in enumerate(widths)
    ]


def _copies(networks: list[Network]) -> list[Network]:
    copies = [Network(network.architecture) for network in networks]
    for copy, network in zip(copies, networks, strict=True):
        copy.load_state_dict(network.state_dict())
    return copies


@pytest.mark.parametrize("config", [ADAM, SGD], ids=["adam", "sgd"])
@pytest.mark.parametrize("source", ["iris", "diabetes", "digits"])
def test_a_stack_trains_each_network_as_if_alone(source: str, config: TrainingConfig) -> None:
    task = in_standard_units(a_task(source, "mlp", epochs=3, batch_size=32, precision="float32", fraction=0.5))
    networks = _mlps(task, [12, 9], [5, 16], [1, 3])  # type: ignore[arg-type]
    alone = _copies(networks)
    train_together(networks, task, config=config, epochs=3, monitor=SilentMonitor(), phase=Phase())
    for one, other in zip(networks, alone, strict=True):
        train(other, task, config=config, epochs=3, monitor=SilentMonitor())
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
            assert torch.allclose(a, b, rtol=1e-3, atol=1e-5)


def test_networks_of_unequal_depth_train_side_by_side() -> None:
    task = a_task("iris", "mlp", epochs=2, precision="float32")
    networks = _mlps(task, [12, 9], [5])
    alone = _copies(networks)
    train_together(networks, task, config=ADAM, epochs=2, monitor=SilentMonitor(), phase=Phase())
    for one, other in zip(networks, alone, strict=True):
        train(other, task, config=ADAM, epochs=2, monitor=SilentMonitor())
        assert same_weights(one, other)


def test_going_on_from_a_checkpoint_equals_never_having_stopped() -> None:
    task = a_task("wine", "mlp", epochs=4)
    straight, first, second = (_mlps(task, [12, 9], [5, 16]) for _ in range(3))
    train_together(straight, task, config=ADAM, epochs=4, monitor=Recorder(), phase=Phase())
    lost = Recorder(break_at=2)
    with pytest.raises(Lost):
        train_together(first, task, config=ADAM, epochs=4, monitor=lost, phase=Phase())
    resumed = Recorder(stored=lost.stored)
    train_together(second, task, config=ADAM, epochs=4, monitor=resumed, phase=Phase())
    assert all(same_weights(one, other) for one, other in zip(straight, second, strict=True))


def test_networks_with_dropout_train_side_by_side_and_go_on_from_a_checkpoint() -> None:
    task = a_task_with_dropout(epochs=2, fraction=0.2)
    straight, first, second = ([task.network(), task.network()] for _ in range(3))
    train_together(straight, task, config=SGD, epochs=2, monitor=Recorder(), phase=Phase())
    assert not same_weights(*straight), "each draws its own numbers"
    lost = Recorder(break_at=1)
    with pytest.raises(Lost):
        train_together(first, task, config=SGD, epochs=2, monitor=lost, phase=Phase())
    train_together(second, task, config=SGD, epochs=2, monitor=Recorder(stored=lost.stored), phase=Phase())
    assert all(same_weights(one, other) for one, other in zip(straight, second, strict=True))


def test_only_plain_perceptrons_are_stacked() -> None:
    task = a_task("digits", "small_cnn", epochs=1)
    assert perceptron_layers(task.network().architecture) is None
    assert perceptron_layers(_mlps(task, [4, 4])[0].architecture) == ("hidden1", "hidden2", "classifier")


def test_padding_stays_zero_and_the_last_network_is_the_one_reported() -> None:
    task = a_task("iris", "mlp", epochs=2)
    monitor = Recorder()
    networks = _mlps(task, [16, 16], [2, 2])
    train_together(networks, task, config=ADAM, epochs=2, monitor=monitor, phase=Phase(size=0.1))
    stored = monitor.resume()
    assert stored is not None
    padded = stored["learner"]["network"]["weights_MIO.1"]
    assert padded.shape == (2, 16, 16)
    assert int(torch.count_nonzero(padded[1])) <= 4
    assert monitor.reports[-1][1] == pytest.approx(evaluate(networks[1], task.validation, task))
