"""Steps, statistics and evaluation. What belongs to whole schedules is in test_train.py."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import r2_score
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from methods.contract import Split, TrainingDiverged
from methods.data.normalise import normalise
from methods.measure import quality
from methods.networks.dropout import Dropout
from methods.networks.graph import Network
from methods.tasks import PreparedTask
from methods.training.batches import train_batches
from methods.training.checkpoints import pack, unpack
from methods.training.loop import Learner, default_loss, evaluate, train_epoch
from tests.methods.small_tasks import a_task, a_task_with_dropout, same_weights


def _learner(task: PreparedTask, **fields: Any) -> Learner:
    return Learner(task.network(), **({"momentum": 0.9, "weight_decay": 1e-3, "seed": 0} | fields))


@pytest.fixture(scope="module")
def digits() -> PreparedTask:
    return a_task("digits", "small_cnn", epochs=2, fraction=0.2, augmentation="crop_flip")


@pytest.fixture(scope="module")
def iris() -> PreparedTask:
    return a_task("iris", "mlp", widths=[16, 16], epochs=2, batch_size=16)


def _network_input(task: PreparedTask, split: Split) -> Tensor:
    return normalise(split.inputs, task.normalization)


def test_steps_are_those_of_a_plain_loop_written_out_in_full(digits: PreparedTask) -> None:
    task = replace(digits, precision="float32")
    learner = _learner(task)
    stats = train_epoch(learner, task, learning_rate=0.05)

    plain = task.network().train()
    velocity = [torch.zeros_like(parameter) for parameter in plain.parameters()]
    losses, right, samples = 0.0, 0, 0
    for inputs, targets in train_batches(
        task.train,
        batch_size=task.batch_size,
        normalization=task.normalization,
        augmentation="crop_flip",
        generator=_learner(task).generator,
    ):
        logits = plain(inputs.contiguous())
        loss = F.cross_entropy(logits, targets)
        gradients = torch.autograd.grad(loss, list(plain.parameters()))
        with torch.no_grad():
            for parameter, gradient, moving in zip(plain.parameters(), gradients, velocity, strict=True):
                moving.mul_(0.9).add_(gradient + 1e-3 * parameter)
                parameter.sub_(0.05 * moving)
        losses += float(loss.detach()) * len(targets)
        right += int((logits.argmax(dim=1) == targets).sum())
        samples += len(targets)

    for one, other in zip(learner.network.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(one, other, atol=2e-4)
    assert stats.samples == samples
    assert stats.loss == pytest.approx(losses / samples, rel=1e-4)
    assert stats.accuracy == pytest.approx(right / samples, abs=2 / samples)


def test_statistics_of_an_epoch_are_exact_with_an_uneven_last_batch(iris: PreparedTask) -> None:
    assert len(iris.train) % iris.batch_size > 1
    learner = _learner(iris)
    stats = train_epoch(learner, iris, learning_rate=0.0)
    logits = learner.network(_network_input(iris, iris.train))
    assert stats.samples == len(iris.train)
    assert stats.loss == pytest.approx(float(F.cross_entropy(logits, iris.train.targets).detach()), rel=1e-5)
    assert stats.accuracy == float((logits.argmax(dim=1) == iris.train.targets).double().mean())
    assert learner.epoch == 1


def test_accuracy_is_exact_with_an_uneven_last_batch(digits: PreparedTask) -> None:
    task = replace(digits, precision="float32", batch_size=300)
    network = task.network().eval()
    many = Split(task.train.inputs[:301], task.train.targets[:301])
    predicted = network(_network_input(task, many)).argmax(dim=1)
    assert evaluate(network, many, task) == float((predicted == many.targets).double().mean())


def test_regression_is_scored_by_r2() -> None:
    task = a_task("diabetes", "mlp", epochs=1)
    network = task.network()
    predicted = network(_network_input(task, task.validation)).squeeze(1).detach()
    expected = r2_score(task.validation.targets.numpy(), predicted.numpy())
    assert evaluate(network, task.validation, task) == pytest.approx(expected, rel=1e-4)


def test_evaluation_changes_neither_mode_nor_weights_nor_statistics(digits: PreparedTask) -> None:
    network = digits.network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    evaluate(network, digits.validation, digits)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_augmented_evaluation_depends_on_its_generator_and_needs_one(digits: PreparedTask) -> None:
    learner = _learner(digits)
    train_epoch(learner, digits, learning_rate=0.05)

    def score(seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        return evaluate(learner.network, digits.train, digits, augmented=True, generator=generator)

    assert score(1) == score(1)
    assert len({score(seed) for seed in range(4)}) > 1
    with pytest.raises(ValueError, match="generator"):
        evaluate(learner.network, digits.train, digits, augmented=True)


def test_a_loss_that_is_not_finite_is_reported_with_its_epoch(iris: PreparedTask) -> None:
    learner = _learner(iris, first_epoch=7)
    with pytest.raises(TrainingDiverged, match=r"epoch 7: .* learning rate 1e\+30"):
        train_epoch(learner, iris, learning_rate=1e30)


class _Wide(nn.Module):
    """Puts out 1,000 values beside the logits; the loop's reading is to see each batch by itself."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(self.network(x), (0, 1000))


@pytest.mark.parametrize("training", [True, False])
def test_of_wide_outputs_an_epoch_keeps_the_logits_alone(iris: PreparedTask, training: bool) -> None:
    outputs: list[weakref.ref[torch.UntypedStorage]] = []
    alive = []

    def reading(output: Tensor) -> Tensor:
        alive.append(sum(storage() is not None for storage in outputs))
        outputs.append(weakref.ref(output.untyped_storage()))
        return output[:, :3]

    task = replace(iris, batch_size=8)
    learner = Learner(_Wide(task.network()), momentum=0.9, weight_decay=1e-3, seed=0)
    plain = _learner(task)
    if training:
        stats = train_epoch(
            learner,
            task,
            learning_rate=0.01,
            loss=lambda output, targets: F.cross_entropy(output[:, :3], targets),
            reading=reading,
        )
        assert stats == train_epoch(plain, task, learning_rate=0.01)
    else:
        many = Split(task.train.inputs.repeat(10, 1), task.train.targets.repeat(10))
        assert evaluate(learner.network, many, task, reading=reading) == evaluate(plain.network, many, task)
    assert len(alive) > 3
    assert max(alive) <= 1, "outputs of earlier batches are still held"


def test_hooks_see_every_step_between_backward_and_the_change_of_weights(iris: PreparedTask) -> None:
    learner = _learner(iris)
    seen: list[tuple[str, float]] = []

    def hook(moment: str) -> Any:
        def record(network: Network) -> None:
            first = next(network.parameters())
            assert first.grad is not None
            seen.append((moment, float(first.detach().sum())))

        return record

    train_epoch(learner, iris, learning_rate=0.1, after_backward=hook("backward"), after_step=hook("step"))
    steps = -(-len(iris.train) // iris.batch_size)
    assert [moment for moment, _ in seen] == ["backward", "step"] * steps
    before, after = seen[::2], seen[1::2]
    assert all(one[1] != other[1] for one, other in zip(before, after, strict=True))
    assert [value for _, value in before[1:]] == [value for _, value in after[:-1]]


def test_a_method_s_own_loss_is_given_float32_logits(digits: PreparedTask) -> None:
    types = set()

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        types.add(logits.dtype)
        return 2 * F.cross_entropy(logits, targets)

    task = replace(digits, precision="bfloat16")
    doubled = train_epoch(_learner(task), task, learning_rate=0.0, loss=loss)
    assert doubled.loss == pytest.approx(2 * train_epoch(_learner(task), task, learning_rate=0.0).loss, rel=1e-6)
    assert types == {torch.float32}


def test_kept_gradients_stay_in_the_memory_a_hook_holds(iris: PreparedTask) -> None:
    learner = _learner(iris, keep_gradients=True)
    train_epoch(learner, iris, learning_rate=0.01)
    held = [parameter.grad for parameter in learner.parameters]
    train_epoch(learner, iris, learning_rate=0.01)
    assert None not in held
    assert all(parameter.grad is gradient for parameter, gradient in zip(learner.parameters, held, strict=True))


def test_training_draws_nothing_from_the_global_generator(digits: PreparedTask) -> None:
    before = torch.get_rng_state()
    train_epoch(_learner(digits), digits, learning_rate=0.01)
    assert torch.equal(torch.get_rng_state(), before)


class _CountReads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts how often a value leaves the device for the host."""

    reads = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        self.reads += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@contextmanager
def _counted() -> Iterator[_CountReads]:
    with _CountReads() as counter:  # type: ignore[no-untyped-call]
        yield counter


def test_the_host_reads_no_value_inside_an_epoch(digits: PreparedTask) -> None:
    reads = []
    for batch_size in (64, 16):
        task = replace(digits, batch_size=batch_size)
        learner = _learner(task)
        with _counted() as counter:
            train_epoch(learner, task, learning_rate=0.01)
        reads.append(counter.reads)
    assert reads[0] == reads[1], "the number of reads grows with the number of steps"


def test_a_state_goes_on_bit_for_bit_with_momentum_laid_out_like_its_weights(digits: PreparedTask) -> None:
    straight = _learner(digits)
    train_epoch(straight, digits, learning_rate=0.05)
    state = straight.state_dict()
    train_epoch(straight, digits, learning_rate=0.05)

    resumed = _learner(digits, seed=99)
    resumed.load_state_dict(state)
    assert [m.stride() for m in resumed.momentum] == [p.stride() for p in resumed.parameters]
    train_epoch(resumed, digits, learning_rate=0.05)
    assert resumed.epoch == 2
    for one, other in zip(resumed.state_dict()["momentum"], straight.state_dict()["momentum"], strict=True):
        assert torch.equal(one, other)
    for name, value in straight.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name])


@pytest.fixture(scope="module")
def dropping() -> PreparedTask:
    return a_task_with_dropout(epochs=2, fraction=0.2, augmentation="crop_flip", precision="bfloat16")


def test_dropout_follows_from_the_seed_alone(dropping: PreparedTask) -> None:
    one, same, other, without = (_learner(dropping, seed=seed) for seed in (0, 0, 1, 0))
    for layer in without.network.modules():
        if isinstance(layer, Dropout):
            layer.register_forward_hook(lambda _, inputs, __: inputs[0])  # drawn, but not used
    for learner in (one, same, other, without):
        train_epoch(learner, dropping, learning_rate=0.05)
    weights = [learner.network.nodes["classifier"].get_parameter("weight") for learner in (one, same, other, without)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3]), "dropout has no effect"


def test_dropout_goes_on_bit_for_bit_from_a_state_that_was_stored(dropping: PreparedTask) -> None:
    straight = _learner(dropping)
    train_epoch(straight, dropping, learning_rate=0.05)
    stored = pack(straight.state_dict())
    train_epoch(straight, dropping, learning_rate=0.05)
    resumed = _learner(dropping, seed=99)
    resumed.load_state_dict(unpack(stored))
    x = _network_input(dropping, dropping.train)[:32]
    train_epoch(resumed, dropping, learning_rate=0.05)
    assert same_weights(straight.network, resumed.network)
    assert torch.equal(straight.network(x), resumed.network(x)), "the next noise is the same, too"


def test_a_state_is_a_copy(iris: PreparedTask) -> None:
    learner = _learner(iris)
    state = learner.state_dict()
    before = next(iter(state["network"].values())).clone()
    train_epoch(learner, iris, learning_rate=0.1)
    assert torch.equal(next(iter(state["network"].values())), before)
    assert all(float(buffer.abs().max()) == 0 for buffer in state["momentum"])


@pytest.mark.parametrize("optimizer", ["adam", "nesterov"])
def test_other_optimizers_take_the_steps_of_torch_s_own(iris: PreparedTask, optimizer: str) -> None:
    learner = _learner(iris, optimizer="adam") if optimizer == "adam" else _learner(iris, nesterov=True)
    plain = iris.network()
    reference: torch.optim.Optimizer
    if optimizer == "adam":
        reference = torch.optim.Adam(plain.parameters(), lr=0.01, betas=(0.9, 0.999), weight_decay=1e-3)
    else:
        reference = torch.optim.SGD(plain.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-3, nesterov=True)
    for seed in range(5):
        index = torch.randint(len(iris.train), (16,), generator=torch.Generator().manual_seed(seed))
        inputs, targets = _network_input(iris, iris.train)[index], iris.train.targets[index]
        for network, step in ((learner.network, lambda: learner.step(0.01)), (plain, reference.step)):
            network.zero_grad()
            F.cross_entropy(network(inputs), targets).backward()
            step()
    for one, other in zip(learner.network.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-7)


def test_adam_goes_on_from_its_state_as_if_never_stopped(iris: PreparedTask) -> None:
    straight = _learner(iris, optimizer="adam")
    for _ in range(2):
        train_epoch(straight, iris, learning_rate=0.01)
    first = _learner(iris, optimizer="adam")
    train_epoch(first, iris, learning_rate=0.01)
    second = _learner(iris, optimizer="adam")
    second.load_state_dict(first.state_dict())
    train_epoch(second, iris, learning_rate=0.01)
    for one, other in zip(straight.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(one, other)


def _weighed(task: PreparedTask, *weights: float) -> PreparedTask:
    return replace(task, class_weights=torch.tensor(weights))


def test_a_weighed_loss_is_the_mean_of_what_each_sample_counts(iris: PreparedTask) -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 3.0]])
    targets = torch.tensor([0, 0, 1, 2])
    each = [float(F.cross_entropy(logits[i : i + 1], targets[i : i + 1])) for i in range(4)]
    expected = (0.5 * each[0] + 0.5 * each[1] + 2 * each[2] + 1 * each[3]) / 4
    assert float(default_loss(_weighed(iris, 0.5, 2.0, 1.0))(logits, targets)) == pytest.approx(expected)
    # Weights count in a batch of one class as well.
    alone = default_loss(_weighed(iris, 0.5, 2.0, 1.0))(logits[2:3], targets[2:3])
    assert float(alone) == pytest.approx(2 * each[2])


def test_equal_weights_change_no_step(iris: PreparedTask) -> None:
    plain, weighed = _learner(iris), _learner(iris)
    train_epoch(plain, iris, learning_rate=0.1)
    train_epoch(weighed, _weighed(iris, 1.0, 1.0, 1.0), learning_rate=0.1)
    for one, other in zip(plain.network.parameters(), weighed.network.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_weights_of_classes_raise_the_recall_of_a_rare_class() -> None:
    task = a_task("breast_cancer", "mlp", widths=[8], epochs=1, precision="float32")
    # A twentieth of the first class, and few steps: too little to be told from its neighbours by plain training.
    rare = torch.nonzero(task.train.targets == 0).flatten()[:8]
    common = torch.nonzero(task.train.targets == 1).flatten()
    index = torch.cat([rare, common])
    few = replace(task, train=Split(task.train.inputs[index], task.train.targets[index]))
    weight_rare, weight_common = len(index) / (2 * len(rare)), len(index) / (2 * len(common))

    def recall(task: PreparedTask) -> float:
        learner = _learner(task)
        for _ in range(2):
            train_epoch(learner, task, learning_rate=0.01)
        of_the_rare = task.validation.targets == 0
        split = Split(task.validation.inputs[of_the_rare], task.validation.targets[of_the_rare])
        return evaluate(learner.network, split, task)

    assert recall(_weighed(few, weight_rare, weight_common)) > recall(few) + 0.2


def test_constant_targets_have_an_r2_of_0_as_the_ruler_says() -> None:
    task = a_task("diabetes", "mlp", epochs=1, widths=[4])
    constant = Split(task.validation.inputs, torch.full_like(task.validation.targets, 100.25))
    assert evaluate(task.network(), constant, task) == 0
    assert quality(task.network(), constant, task).values["r2"] == 0


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_weights_whose_past_is_forgotten_stay_where_they_are_without_gradient(
    iris: PreparedTask, optimizer: str
) -> None:
    learner = _learner(iris, optimizer=optimizer, weight_decay=0.0)
    train_epoch(learner, iris, learning_rate=0.01)
    parameter = learner.parameters[0]
    where = torch.arange(parameter.numel()).view(parameter.shape) % 3 == 0
    learner.forget(parameter, where)
    before = parameter.detach().clone()
    learner.forget_gradients()
    parameter.grad = torch.zeros_like(parameter)
    learner.step(0.1)
    moved = parameter.detach() != before
    assert not bool(moved[where].any())
    assert bool(moved[~where].any()), "the others have momentum"


def test_a_step_without_any_gradient_changes_nothing(iris: PreparedTask) -> None:
    learner = _learner(iris)
    train_epoch(learner, iris, learning_rate=0.01)
    before = learner.state_dict()
    learner.forget_gradients()
    learner.step(0.1)
    after = learner.state_dict()
    for name in ("network", "momentum"):
        pairs = zip(_tensors(before[name]), _tensors(after[name]), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


def _tensors(state: dict[str, Tensor] | list[Tensor]) -> list[Tensor]:
    return list(state.values()) if isinstance(state, dict) else state
