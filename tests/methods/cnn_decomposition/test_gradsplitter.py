import math

import pytest
import torch

from methods.cnn_decomposition.gradsplitter import (
    Epoch,
    cycles_within,
    schedule,
    scores,
    select_epoch,
    splitter_loss,
)

OUTPUTS = torch.tensor([[0.9, 0.2, 0.1], [0.3, 0.4, 0.8]], dtype=torch.float64)
LABELS = torch.tensor([0, 1])


def _masks() -> torch.Tensor:
    module, kernel = torch.meshgrid(torch.arange(3.0), torch.arange(5.0), indexing="ij")
    return torch.sin(2 * module + kernel + 1).double()


def test_loss_and_gradients_have_the_values_worked_out() -> None:
    outputs, masks = OUTPUTS.clone().requires_grad_(), _masks().requires_grad_()
    loss = splitter_loss(outputs, LABELS, masks, size_weight=0.1)
    loss.backward()
    assert loss.item() == pytest.approx(0.997596, abs=5e-7)
    assert splitter_loss(OUTPUTS, LABELS, masks, size_weight=0.0).item() == pytest.approx(0.944263, abs=5e-7)
    expected = torch.tensor([[-0.243051, 0.127597, 0.115454], [0.133195, -0.352797, 0.219602]], dtype=torch.float64)
    torch.testing.assert_close(outputs.grad, expected, rtol=0, atol=5e-7)
    torch.testing.assert_close(masks.grad, torch.full((3, 5), 0.1 / 15, dtype=torch.float64))


def test_cross_entropy_of_ten_scores_in_0_1_has_a_floor() -> None:
    best = torch.eye(10, dtype=torch.float64)[:1]
    floor = splitter_loss(best, torch.tensor([0]), torch.ones(1), size_weight=0.0).item()
    assert floor == pytest.approx(math.log(math.e + 9) - 1)
    assert floor == pytest.approx(1.461150, abs=5e-7)
    alike = splitter_loss(torch.full((1, 10), 0.5), torch.tensor([0]), torch.ones(1), size_weight=0.0)
    assert alike.item() == pytest.approx(math.log(10))


def test_without_size_weight_masks_get_no_gradient() -> None:
    masks = _masks().requires_grad_()
    loss = splitter_loss(OUTPUTS.clone().requires_grad_(), LABELS, masks, size_weight=0.0)
    loss.backward()
    assert masks.grad is None


def test_weights_of_classes_weigh_samples_against_the_plain_mean() -> None:
    each = torch.tensor([0.5, 1.5, 1.0], dtype=torch.float64)
    plain = [splitter_loss(OUTPUTS[[row]], LABELS[[row]], _masks(), size_weight=0.0).item() for row in range(2)]
    weighed = splitter_loss(OUTPUTS, LABELS, _masks(), size_weight=0.0, class_weights=each).item()
    assert weighed == pytest.approx((0.5 * plain[0] + 1.5 * plain[1]) / 2)


def test_scores_are_those_of_the_named_objective() -> None:
    before = torch.tensor([[0.0, 2.0]])
    assert scores(before, "logit_cross_entropy") is before
    assert scores(before, "sigmoid_cross_entropy")[0].tolist() == pytest.approx([0.5, 1 / (1 + math.exp(-2))])


def test_scores_that_fit_no_labels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"scores \(2, 3\) for labels \(3,\)"):
        splitter_loss(OUTPUTS, torch.tensor([0, 1, 2]), _masks(), size_weight=0.1)


def test_the_schedule_of_the_paper() -> None:
    epochs = schedule()
    assert len(epochs) == 145
    assert sum(epoch.new_optimizer for epoch in epochs) == 41
    assert [number for number, epoch in enumerate(epochs) if epoch.phase == "modularise"] == [
        5 + 7 * cycle + step for cycle in range(20) for step in range(5)
    ]
    assert epochs[0] == Epoch("head", 0.01, 0.0, True)
    assert epochs[4] == Epoch("head", 0.01, 0.0, False)
    assert epochs[5] == Epoch("modularise", 0.001, 0.1, True)
    assert epochs[10] == Epoch("head", pytest.approx(0.001), 0.0, True)
    assert epochs[11] == Epoch("head", pytest.approx(0.001), 0.0, False)
    assert epochs[12].new_optimizer
    assert epochs[144].phase == "head"


def test_a_schedule_of_nothing_is_refused_and_a_budget_says_how_many_cycles_fit() -> None:
    with pytest.raises(ValueError, match="at least one of either"):
        schedule(0, 0)
    with pytest.raises(ValueError, match="-1 cycles"):
        schedule(5, -1)
    assert [cycles_within(epochs, head_epochs=5) for epochs in (3, 11, 12, 18, 19, 145)] == [0, 0, 1, 1, 2, 20]


def test_the_smallest_epoch_within_tolerance_is_selected() -> None:
    accuracies = [0.90, 0.895, 0.892, 0.880, 0.893]
    kernels = [100.0, 60.0, 40.0, 20.0, 50.0]
    assert select_epoch(accuracies, kernels, reference=0.9) == 2
    assert select_epoch(accuracies, kernels, reference=0.9, tolerance=0.03) == 3
    # The loss must be below the tolerance: 0.89 is exactly one point down.
    assert select_epoch([0.89, 0.88], [1.0, 2.0], reference=0.9) == 0, "none within: the most accurate"
    assert select_epoch([0.905, 0.89], [5.0, 1.0], reference=0.9) == 0


def test_ties_go_to_the_more_accurate_then_to_the_later_epoch() -> None:
    assert select_epoch([0.90, 0.91, 0.90], [5.0, 5.0, 5.0], reference=0.9) == 1
    assert select_epoch([0.91, 0.91, 0.90], [5.0, 5.0, 5.0], reference=0.9) == 1
    assert select_epoch([0.5, 0.6, 0.6, 0.6], [1.0, 3.0, 2.0, 2.0], reference=0.9) == 3


def test_epochs_without_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="2 accuracies for 1 sizes"):
        select_epoch([0.1, 0.2], [1.0], reference=0.5)
    with pytest.raises(ValueError, match="0 accuracies"):
        select_epoch([], [], reference=0.5)
