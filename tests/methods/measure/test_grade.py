"""The ruler as a whole: every figure is of the network that was read back from its artefact."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from methods.artefact import decode
from methods.contract import Normalization, Split, TaskInfo, TrainingDiverged
from methods.measure import count_macs, count_nonzeros, count_parameters, deployed_sizes, grade, latency_ms, quality
from methods.modules.side_by_side import SideBySide
from methods.networks.build import build_network
from methods.networks.catalog import design_network
from methods.networks.graph import Network
from methods.surgery import deploy
from methods.task_spec import NetworkSpec
from methods.tasks import PreparedTask
from tests.methods.modules.libraries import beside, drawn_library

SHAPE = (1, 8, 8)


def make_task(*, kind: str = "classification", num_samples: int = 37) -> PreparedTask:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (num_samples, *SHAPE), dtype=torch.uint8, generator=generator)
    classes = torch.randint(0, 4, (num_samples,), generator=generator)
    regression = kind == "regression"
    split = Split(images, classes.float() if regression else classes)
    info = TaskInfo(
        name="squares",
        kind="regression" if regression else "classification",
        input_shape=SHAPE,
        num_outputs=1 if regression else 4,
        class_names=() if regression else ("a", "b", "c", "d"),
        num_train=num_samples,
        num_validation=num_samples,
        network="small_cnn",
        architecture=design_network("small_cnn", input_shape=SHAPE, num_outputs=1 if regression else 4),
        epochs=1,
    )
    return PreparedTask(
        info=info,
        train=split,
        validation=split,
        normalization=Normalization(mean=(0.5,), std=(0.25,)),
        augmentation="none",
        epochs=1,
        batch_size=16,
        seed=0,
        device="cpu",
        precision="float32",
        network_spec=NetworkSpec(name="small_cnn"),
    )


def test_figures_are_of_the_artefact_that_would_be_shipped() -> None:
    task = make_task()
    network = task.network()
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.add_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(5)), alpha=0.1)
    grades = grade(network, task)
    reloaded = decode(grades.artefact)
    assert grades.stored_bytes == len(grades.artefact)
    assert grades.parameters == sum(tensor.numel() for tensor in reloaded.parameters())
    assert grades.nonzeros == sum(int((tensor != 0).sum()) for tensor in reloaded.parameters())
    assert grades.macs == count_macs(reloaded, SHAPE)
    assert grades.validation == quality(reloaded, task.validation, task).values
    assert set(grades.validation) == {"accuracy", "macro_precision", "macro_recall", "macro_f1"}
    assert set(grades.per_class) == {"a", "b", "c", "d"}
    assert set(grades.latency_ms) == {"1", "256"}
    assert all(milliseconds > 0 for milliseconds in grades.latency_ms.values())
    # Deployment folds normalisation away, so the deployed network holds fewer values than the one trained.
    assert grades.parameters < sum(tensor.numel() for tensor in network.parameters())
    assert all(torch.equal(tensor, tensor.half().float()) for tensor in grades.deployed.parameters())


def test_grading_does_not_change_the_network() -> None:
    task = make_task()
    network = task.network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    grade(network, task, latency=False)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("heads", [True, False])
def test_modules_side_by_side_hold_what_they_share_and_run_as_one_network(heads: bool) -> None:
    task = make_task()
    composed = beside(drawn_library(task.network(), seed=0, kept=0.5), heads=heads).compose(range(4))
    assert isinstance(composed, SideBySide)
    grades = grade(composed, task)
    stored = decode(grades.artefact)
    assert isinstance(stored, SideBySide)
    assert grades.parameters == count_parameters(stored.network) + 4 * heads * (10 * 4 + 10 + 10 + 1)
    assert grades.nonzeros == count_nonzeros(stored) < grades.parameters < count_parameters(grades.deployed)
    assert grades.macs == sum(count_macs(stored.module(number), SHAPE) for number in range(4))
    assert grades.stored_bytes == len(grades.artefact)
    assert isinstance(grades.deployed, Network)
    assert set(grades.latency_ms) == {"1", "256"}
    x = torch.rand((5, *SHAPE), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(grades.deployed(x), composed(x), atol=1e-2, rtol=1e-2)
    assert grades.validation == quality(grades.deployed, task.validation, task).values
    sizes = ("parameters", "nonzeros", "stored_bytes", "macs")
    assert deployed_sizes(composed) == {name: getattr(grades, name) for name in sizes}


def test_latency_can_be_left_out() -> None:
    task = make_task()
    assert grade(task.network(), task, latency=False).latency_ms == {}


def test_regression_is_graded_by_r2_and_mse() -> None:
    task = make_task(kind="regression")
    grades = grade(task.network(), task, latency=False)
    assert set(grades.validation) == {"r2", "mse"}
    assert grades.per_class == {}


def test_network_without_finite_outputs_is_refused_with_a_count() -> None:
    task = make_task()
    network = task.network()
    with torch.no_grad():
        next(reversed(list(network.parameters()))).fill_(float("nan"))
    with pytest.raises(TrainingDiverged, match="37 of 37 samples"):
        grade(network, task, latency=False)


def test_reference_sizes_come_through_the_same_export() -> None:
    task = make_task()
    grades = grade(task.network(), task, latency=False)
    assert deployed_sizes(task.network()) == {
        "parameters": grades.parameters,
        "nonzeros": grades.nonzeros,
        "stored_bytes": grades.stored_bytes,
        "macs": grades.macs,
    }


def test_deployed_network_computes_what_the_trained_one_does() -> None:
    network = build_network("resnet20", input_shape=SHAPE, num_outputs=4, width=0.5, seed=0).eval()
    x = torch.rand((5, *SHAPE), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(deploy(network)(x), network(x), atol=1e-5, rtol=1e-4)


class Sleeps(nn.Module):
    """A forward pass of known length, slow while it warms up."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert torch.is_inference_mode_enabled()
        assert not self.training
        self.calls += 1
        time.sleep(0.05 if self.calls <= 2 else 0.005)
        return x


def test_latency_is_the_median_after_warming_up() -> None:
    network = Sleeps()
    measured = latency_ms(network, (3,), 2)
    assert 5 <= measured.median_ms < 40  # the warm-up calls take 50
    assert 5 <= measured.repetitions == network.calls - 2
    assert network.training


def test_latency_keeps_to_its_budget_but_repeats_at_least_five_times() -> None:
    assert latency_ms(Sleeps(), (3,), 1, budget_seconds=0.0).repetitions == 5
