"""Weights that live and weights that do not, while a network trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from methods.networks.graph import Network
from methods.tasks import PreparedTask
from methods.training.config import TrainingConfig
from methods.training.loop import Phase, start_learner, train_epoch
from methods.training.masked import MaskedWeights, stored_masks, train_masked
from methods.training.masks import prunable_weights, random_masks
from tests.methods.small_tasks import Lost, Recorder, a_task, same_weights

CONFIGS = {"sgd": TrainingConfig(learning_rate=0.05), "adam": TrainingConfig(optimizer="adam", learning_rate=0.003)}


@pytest.fixture(scope="module")
def digits() -> PreparedTask:
    return a_task("digits", "small_cnn", epochs=4, fraction=0.15, augmentation="crop_flip")


def _random(network: Network, seed: int, share: float = 0.3) -> list[Tensor]:
    weights = prunable_weights(network)
    kept = [int(share * weight.numel()) for weight in weights]
    return random_masks(weights, kept=kept, generator=torch.Generator().manual_seed(seed))


def _all_zero_outside(weights: list[Tensor], masks: list[Tensor]) -> bool:
    return not any(bool(weight.detach()[~mask].any()) for weight, mask in zip(weights, masks, strict=True))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_changed_masks_leave_what_does_not_live_twice_at_zero_without_momentum(
    digits: PreparedTask, optimizer: str
) -> None:
    learner = start_learner(digits.network(), digits, config=CONFIGS[optimizer])
    first, second = _random(learner.network, 1), _random(learner.network, 2)
    live = MaskedWeights(learner, first)
    assert _all_zero_outside(live.weights, first)
    train_epoch(
        learner,
        digits,
        learning_rate=0.01,
        after_backward=lambda _: live.finish_step(),
        after_step=lambda _: _check(_all_zero_outside(live.weights, first)),
    )
    kept = [weight.detach()[one & two] for weight, one, two in zip(live.weights, first, second, strict=True)]
    live.change(second)
    places = {id(parameter): index for index, parameter in enumerate(learner.parameters)}
    for weight, one, two, values in zip(live.weights, first, second, kept, strict=True):
        for tensor in (weight.detach(), learner.momentum[places[id(weight)]]):
            assert not bool(tensor[~(one & two)].any())
            assert bool(tensor[one & two].any())
        assert torch.equal(weight.detach()[one & two], values)
    train_epoch(
        learner,
        digits,
        learning_rate=0.01,
        after_backward=lambda _: live.finish_step(),
        after_step=lambda _: _check(_all_zero_outside(live.weights, second)),
    )
    grown = [weight.detach()[two & ~one] for weight, one, two in zip(live.weights, first, second, strict=True)]
    assert all(bool(values.any()) for values in grown), "what was grown learns"


def _check(holds: bool) -> None:
    assert holds


def test_a_step_that_rests_moves_no_parameter(digits: PreparedTask) -> None:
    learner = start_learner(digits.network(), digits, config=CONFIGS["sgd"])
    live = MaskedWeights(learner, _random(learner.network, 1))
    before: list[Tensor] = []

    def after_backward(network: Network) -> None:
        before[:] = [parameter.detach().clone() for parameter in network.parameters()]
        if live.step == 2:
            live.rest()
        live.finish_step()

    def after_step(network: Network) -> None:
        pairs = zip(before, network.parameters(), strict=True)
        _check(all(torch.equal(old, new) for old, new in pairs) == (live.step == 3))

    train_epoch(learner, digits, learning_rate=0.01, after_backward=after_backward, after_step=after_step)
    assert live.step == 4


class _Checkpoints(Recorder):
    """Remembers the masks and the step of every checkpoint."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.steps: list[int] = []
        self.living: list[int] = []

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        self.steps.append(state["carry"]["step"])
        self.living.append(sum(int(mask.sum()) for mask in state["carry"]["masks"]))
        super().checkpoint(state)


def _train(task: PreparedTask, monitor: Recorder, optimizer: str = "sgd") -> tuple[Network, list[Tensor]]:
    """With masks that change in steps of no epoch's end, to others of another size."""

    def update(live: MaskedWeights) -> None:
        if live.step % 3 == 2:
            live.change(_random(network, live.step, share=0.5 - live.step / 100))

    network = task.network()
    masks = stored_masks(monitor, phase="masked", device="cpu") or _random(network, 0)
    masks = train_masked(
        network,
        task,
        masks,
        config=CONFIGS[optimizer],
        epochs=task.epochs,
        monitor=monitor,
        phase=Phase(name="masked"),
        method="test",
        update=update,
    )
    return network, masks


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_masks_that_change_go_on_from_a_checkpoint_as_if_never_stopped(digits: PreparedTask, optimizer: str) -> None:
    monitor = _Checkpoints()
    straight, masks = _train(digits, monitor, optimizer)
    assert monitor.steps == [4, 8, 12, 16]
    assert len(set(monitor.living)) > 1, "a checkpoint holds the masks of its time"
    assert _all_zero_outside(prunable_weights(straight), masks)
    for break_at in (1, 2, 3, 4):
        lost = Recorder(break_at=break_at)
        with pytest.raises(Lost):
            _train(digits, lost, optimizer)
        resumed, same_masks = _train(digits, Recorder(stored=lost.stored), optimizer)
        assert same_weights(straight, resumed)
        assert all(torch.equal(one, other) for one, other in zip(masks, same_masks, strict=True))


def test_masks_of_another_phase_are_not_taken_up(digits: PreparedTask) -> None:
    monitor = Recorder()
    _train(digits, monitor)
    assert stored_masks(monitor, phase="other", device="cpu") is None
    assert stored_masks(Recorder(), phase="masked", device="cpu") is None
