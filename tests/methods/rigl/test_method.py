from __future__ import annotations

import pytest
import torch
from torch import Tensor

from methods.networks.graph import Network
from methods.rigl.config import RigLConfig
from methods.rigl.method import RigL
from methods.rigl.schedule import UpdateSchedule
from methods.tasks import PreparedTask
from methods.training.densities import kept_weights
from methods.training.loop import start_learner, train_epoch
from methods.training.masked import MaskedWeights
from methods.training.masks import prunable_weights, random_masks
from tests.methods.small_tasks import Lost, Recorder, a_task, same_weights

CONFIG = RigLConfig(pruning_rate=0.8, learning_rate=0.05)


@pytest.fixture(scope="module")
def digits() -> PreparedTask:
    return a_task("digits", "small_cnn", epochs=8, fraction=0.3, augmentation="crop_flip")


def test_every_update_keeps_the_counts_and_grows_zeros_without_momentum(digits: PreparedTask) -> None:
    """Seen from inside a run: two epochs with an update in every fourth step."""
    method, schedule = RigL(CONFIG), UpdateSchedule(interval=4, end=12, drop_fraction=0.3)
    learner = start_learner(digits.network(), digits, config=CONFIG)
    weights = prunable_weights(learner.network)
    living = kept_weights([weight.shape for weight in weights], total=round(0.2 * sum(map(Tensor.numel, weights))))
    live = MaskedWeights(learner, random_masks(weights, kept=living, generator=torch.Generator().manual_seed(0)))
    places = {id(parameter): index for index, parameter in enumerate(learner.parameters)}
    replaced: list[int] = []

    def after_backward(network: Network) -> None:
        del network
        if schedule.is_due(live.step):
            old = live.masks
            method._rewire(live, schedule)
            grown = [new & ~before for new, before in zip(live.masks, old, strict=True)]
            for weight, mask, born in zip(weights, live.masks, grown, strict=True):
                momentum = learner.momentum[places[id(weight)]]
                assert not bool(weight.detach()[born | ~mask].any())
                assert not bool(momentum[born | ~mask].any())
            replaced.append(sum(int(born.sum()) for born in grown))
        live.finish_step()
        for weight, mask in zip(weights, live.masks, strict=True):
            assert weight.grad is None or not bool(weight.grad[~mask].any())

    def after_step(network: Network) -> None:
        del network
        assert [int(mask.sum()) for mask in live.masks] == living
        assert not any(bool(weight.detach()[~mask].any()) for weight, mask in zip(weights, live.masks, strict=True))

    for _ in range(2):
        train_epoch(learner, digits, learning_rate=0.05, after_backward=after_backward, after_step=after_step)
    assert len(replaced) == schedule.count == 3
    assert replaced[0] > replaced[1] > replaced[2] > 0, "the share falls"
    pairs = zip(weights, live.masks, strict=True)
    learned = sum(int((weight.detach()[mask] != 0).sum()) for weight, mask in pairs)
    assert learned > 0.95 * sum(living), "what was grown learns"


def test_the_layers_start_and_end_with_their_erdos_renyi_kernel_counts(digits: PreparedTask) -> None:
    monitor = Recorder()
    outcome = RigL(CONFIG).fit(digits, {}, monitor)
    weights = prunable_weights(outcome.variants[0].network)
    total = sum(weight.numel() for weight in weights)
    living = kept_weights([weight.shape for weight in weights], total=total - int(0.8 * total))
    state = monitor.resume()
    assert state is not None
    masks = state["carry"]["masks"]
    assert [int(mask.sum()) for mask in masks] == living
    assert living[0] == weights[0].numel(), "144 weights of the first layer: its density is capped at 1"
    assert not any(bool(weight.detach()[~mask].any()) for weight, mask in zip(weights, masks, strict=True))
    assert outcome.facts["update_interval"] == 10


def test_updates_move_the_weights_and_end_at_their_share_of_the_budget(digits: PreparedTask) -> None:
    def final_masks(**fields: float) -> list[Tensor]:
        monitor = Recorder()
        RigL(CONFIG.model_copy(update=fields)).fit(digits, {}, monitor)
        state = monitor.resume()
        assert state is not None
        masks: list[Tensor] = state["carry"]["masks"]
        return masks

    still, moved = final_masks(drop_fraction=0.0), final_masks()
    changed = sum(int((one & ~other).sum()) for one, other in zip(still, moved, strict=True))
    assert changed > 0.05 * sum(int(mask.sum()) for mask in still)


@pytest.mark.parametrize("break_at", [1, 3, 6, 8])
def test_resuming_at_any_epoch_leaves_no_trace(digits: PreparedTask, break_at: int) -> None:
    straight = RigL(CONFIG).fit(digits, {}, Recorder())
    lost = Recorder(break_at=break_at)
    with pytest.raises(Lost):
        RigL(CONFIG).fit(digits, {}, lost)
    resumed = RigL(CONFIG).fit(digits, {}, Recorder(stored=lost.stored))
    assert same_weights(straight.variants[0].network, resumed.variants[0].network)
    assert straight.facts == resumed.facts
