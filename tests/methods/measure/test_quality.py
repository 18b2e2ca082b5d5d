"""Quality figures against hand-worked cases and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support, r2_score
from torch import Tensor, nn

from methods.contract import Normalization, Split
from methods.measure import classification_quality, confusion, predict, regression_quality

PLAIN = Normalization(mean=(0.0,), std=(1.0,))


def test_hand_worked_classification() -> None:
    # True 0: two right, one taken for 1. True 1: right. True 2: taken for 0.
    target = torch.tensor([0, 0, 0, 1, 2])
    predicted = torch.tensor([0, 0, 1, 1, 0])
    found = classification_quality(predicted, target, class_names=("a", "b", "c"))
    assert found.values["accuracy"] == pytest.approx(3 / 5)
    assert found.per_class["a"] == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3})
    assert found.per_class["b"] == pytest.approx({"precision": 1 / 2, "recall": 1.0, "f1": 2 / 3})
    assert found.per_class["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert found.values["macro_precision"] == pytest.approx((2 / 3 + 1 / 2) / 3)
    assert found.values["macro_recall"] == pytest.approx((2 / 3 + 1) / 3)
    assert found.values["macro_f1"] == pytest.approx((4 / 3) / 3)


def test_class_that_is_neither_predicted_nor_present_counts_as_zero() -> None:
    found = classification_quality(torch.tensor([0, 1]), torch.tensor([0, 1]), class_names=("a", "b", "never"))
    assert found.values["accuracy"] == 1.0
    assert found.per_class["never"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert found.values["macro_f1"] == pytest.approx(2 / 3)


@settings(max_examples=50, deadline=None)
@given(num_classes=st.integers(1, 12), num_samples=st.integers(1, 200), seed=st.integers(0, 2**16))
def test_classification_agrees_with_scikit_learn(num_classes: int, num_samples: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    target, predicted = rng.integers(0, num_classes, (2, num_samples))
    names = tuple(f"class {index}" for index in range(num_classes))
    found = classification_quality(torch.from_numpy(predicted), torch.from_numpy(target), class_names=names)
    labels = list(range(num_classes))
    each = precision_recall_fscore_support(target, predicted, labels=labels, zero_division=0)
    for index, name in enumerate(names):
        expected = [column[index] for column in each[:3]]
        assert list(found.per_class[name].values()) == pytest.approx(expected, abs=1e-12)
    macro = precision_recall_fscore_support(target, predicted, labels=labels, zero_division=0, average="macro")
    found_macro = [found.values[key] for key in ("macro_precision", "macro_recall", "macro_f1")]
    assert found_macro == pytest.approx(macro[:3], abs=1e-12)
    assert found.values["accuracy"] == pytest.approx((target == predicted).mean(), abs=1e-15)


def test_confusion_counts_rows_as_true_classes() -> None:
    counts = confusion(torch.tensor([1, 1, 0]), torch.tensor([0, 1, 0]), num_classes=2)
    assert counts.tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize(
    ("predicted", "target", "message"),
    [([0, 1], [0], "one index per sample"), ([], [], "at least one"), ([0, 3], [0, 1], "3 classes"), ([0], [-1], "-1")],
)
def test_confusion_refuses_what_does_not_fit(predicted: list[int], target: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion(torch.tensor(predicted).long(), torch.tensor(target).long(), num_classes=3)


def test_hand_worked_regression() -> None:
    found = regression_quality(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 3.0]))
    assert found.values["mse"] == pytest.approx(1 / 3)
    assert found.values["r2"] == pytest.approx(1 - (1 / 3) / (2 / 3))
    assert not found.per_class


def test_r2_agrees_with_scikit_learn_far_from_zero() -> None:
    # Single precision would lose the variance of such targets in their squares.
    rng = np.random.default_rng(0)
    target = (1e4 + rng.standard_normal(1000)).astype(np.float32)
    predicted = target + rng.standard_normal(1000).astype(np.float32)
    found = regression_quality(torch.from_numpy(predicted), torch.from_numpy(target))
    expected = r2_score(target.astype(np.float64), predicted.astype(np.float64))
    assert found.values["r2"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, 3e7])
def test_r2_of_constant_targets_is_zero(value: float) -> None:
    target = torch.full((7,), value)
    assert regression_quality(target, target).values == {"r2": 0.0, "mse": 0.0}
    assert regression_quality(target + 1, target).values["r2"] == 0.0


class CountsSamples(nn.Module):
    """Two logits per sample; remembers how many samples each call held."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 2)
        self.calls: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append(len(x))
        assert x.dtype == torch.float32
        result: Tensor = self.layer(x)
        return result


def test_prediction_sees_every_sample_once_with_an_uneven_last_batch() -> None:
    network = CountsSamples()
    inputs = torch.arange(10.0)[:, None]
    split = Split(inputs, torch.zeros(10, dtype=torch.int64))
    logits = predict(network, split, normalization=PLAIN, device="cpu", batch_size=4)
    assert network.calls == [4, 4, 2]
    assert torch.equal(logits, network.layer(inputs).detach())
    whole = predict(network, split, normalization=PLAIN, device="cpu")
    assert torch.equal(logits, whole)


def test_accuracy_with_an_uneven_last_batch_is_an_exact_count() -> None:
    network = CountsSamples()
    with torch.no_grad():
        network.layer.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        network.layer.bias.zero_()
    # Positive inputs are class 0. All of the last, smaller batch is wrong: a mean of batch means would say 2/3.
    split = Split(torch.tensor([[1.0]] * 4 + [[-1.0]] * 4 + [[1.0]]), torch.tensor([0] * 4 + [1] * 5))
    logits = predict(network, split, normalization=PLAIN, device="cpu", batch_size=4)
    found = classification_quality(logits.argmax(dim=1), split.targets, class_names=("a", "b"))
    assert found.values["accuracy"] == 8 / 9


def test_prediction_normalises_images_and_restores_modes() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.BatchNorm1d(4))
    network.train()
    network[2].eval()
    images = torch.tensor([0, 51, 102, 255], dtype=torch.uint8).view(1, 1, 2, 2)
    split = Split(images, torch.zeros(1, dtype=torch.int64))
    normal = Normalization(mean=(0.2,), std=(0.5,))
    logits = predict(network, split, normalization=normal, device="cpu")
    # Dropout and normalisation are those of evaluation: (x/255 - 0.2) / 0.5 comes through.
    expected = torch.tensor([[-0.4, 0.0, 0.4, 1.6]]) / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(logits, expected, atol=1e-6, rtol=1e-6)
    assert network.training
    assert network[1].training
    assert not network[2].training


def test_prediction_in_bfloat16_is_returned_in_float32_and_coarser() -> None:
    network = CountsSamples()
    split = Split(torch.rand((9, 1), generator=torch.Generator().manual_seed(0)), torch.zeros(9, dtype=torch.int64))
    exact = predict(network, split, normalization=PLAIN, device="cpu")
    coarse = predict(network, split, normalization=PLAIN, device="cpu", dtype=torch.bfloat16)
    assert coarse.dtype == torch.float32
    assert not torch.equal(coarse, exact)
    torch.testing.assert_close(coarse, exact, atol=0.02, rtol=0.02)


def test_prediction_can_be_used_in_a_loss_afterwards() -> None:
    network = CountsSamples()
    split = Split(torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64))
    logits = predict(network, split, normalization=PLAIN, device="cpu")
    scale = torch.ones(1, requires_grad=True)
    (logits * scale).sum().backward()
    assert scale.grad is not None


def test_empty_split_is_refused() -> None:
    empty = Split(torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError, match="no samples"):
        predict(CountsSamples(), empty, normalization=PLAIN, device="cpu")


def test_modes_are_restored_after_an_error() -> None:
    network = nn.Sequential(nn.Linear(3, 2).eval(), nn.ReLU())
    wrong = Split(torch.zeros(4, 5), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        predict(network, wrong, normalization=PLAIN, device="cpu")
    assert [module.training for module in network.modules()] == [True, False, True]
