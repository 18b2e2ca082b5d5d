from __future__ import annotations

import pytest
import torch

from methods.hypersparse.penalty import magnitude_masks
from methods.hypersparse.snapshots import Snapshot, pruned, reestimate_batch_norm
from methods.networks.dropout import Dropout
from methods.networks.graph import Network
from methods.training.checkpoints import pack, unpack
from methods.training.learner import Learner
from methods.training.loop import evaluate, train_epoch
from methods.training.masks import prunable_weights
from tests.methods.hypersparse.digits import DigitsTask
from tests.methods.small_tasks import a_task_with_dropout

TASK = DigitsTask(epochs=2, num_train=640)


@pytest.fixture
def network() -> Network:
    """Trained for two epochs: channels-last weights, batch statistics away from their start."""
    learner = Learner(TASK.network(), momentum=0.9, weight_decay=1e-4, seed=0)
    for _ in range(2):
        train_epoch(learner, TASK, learning_rate=0.1)
    return learner.network


def _copy(network: Network) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def _equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_network_is_pruned_inside_and_untouched_afterwards(network: Network) -> None:
    weights = prunable_weights(network)
    before = _copy(network)
    masks = magnitude_masks(weights, pruning_rate=0.9)
    with pruned(network, weights, masks):
        reestimate_batch_norm(network, TASK, num_batches=3, generator=torch.Generator().manual_seed(0))
        inside = _copy(network)
        zeros = sum(int((weight == 0).sum()) for weight in weights)
    assert zeros == sum(int((~mask).sum()) for mask in masks)
    assert not _equal(inside, before)
    assert _equal(_copy(network), before)


def test_statistics_are_taken_anew_without_the_dropout_of_training() -> None:
    task = a_task_with_dropout(epochs=1, fraction=0.2)
    learner = Learner(task.network(), momentum=0.9, weight_decay=0.0, seed=0)
    train_epoch(learner, task, learning_rate=0.1)
    before = learner.generator.get_state()
    reestimate_batch_norm(learner.network, task, num_batches=2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(learner.generator.get_state(), before), "measuring changes no training"
    dropouts = [layer for layer in learner.network.modules() if isinstance(layer, Dropout)]
    assert [layer.training for layer in dropouts] == [True]


def test_weights_come_back_when_measuring_fails(network: Network) -> None:
    weights = prunable_weights(network)
    before = _copy(network)
    with pytest.raises(ZeroDivisionError), pruned(network, weights, magnitude_masks(weights, pruning_rate=0.9)):
        raise ZeroDivisionError
    assert _equal(_copy(network), before)


def test_a_snapshot_brings_back_the_pruned_network_bit_for_bit_from_a_checkpoint(network: Network) -> None:
    weights = prunable_weights(network)
    masks = magnitude_masks(weights, pruning_rate=0.9)
    with pruned(network, weights, masks):
        inside = _copy(network)
        accuracy = evaluate(network, TASK.validation, TASK)
        taken = Snapshot.take(network, weights, masks)
    learner = Learner(network, momentum=0.9, weight_decay=1e-4, seed=1)
    train_epoch(learner, TASK, learning_rate=0.1)
    restored = Snapshot.from_state(unpack(pack(taken.state())))
    other = Learner(TASK.network(), momentum=0.9, weight_decay=1e-4, seed=2).network
    for target in (network, other):
        found = restored.restore(target, prunable_weights(target))
        assert _equal(_copy(target), inside)
        assert all(torch.equal(a, b) for a, b in zip(found, masks, strict=True))
        assert evaluate(target, TASK.validation, TASK) == accuracy


def test_a_snapshot_is_a_fraction_of_the_network(network: Network) -> None:
    weights = prunable_weights(network)
    state = Snapshot.take(network, weights, magnitude_masks(weights, pruning_rate=0.9)).state()
    count = sum(weight.numel() for weight in weights)
    assert state["bits"].numel() == -(-count // 8)
    assert state["survivors"].numel() == count - int(0.9 * count) - 1


def test_reestimated_statistics_are_plain_means_over_the_batches(network: Network) -> None:
    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    reestimate_batch_norm(network, TASK, num_batches=4, generator=torch.Generator().manual_seed(0))
    assert [int(layer.num_batches_tracked) for layer in layers if layer.num_batches_tracked is not None] == [4] * len(
        layers
    )
    assert [layer.momentum for layer in layers] == momenta
