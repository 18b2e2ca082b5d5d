from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.contract import SilentMonitor
from methods.morphing.config import GrowthConfig
from methods.morphing.growing import grow_network
from methods.morphing.losses import magnitude, reconstruction
from methods.morphing.parts import morphing_parts
from methods.morphing.schedule import growth_steps
from methods.morphing.source import WeightSource
from methods.morphing.tensors import as_layers, own_tensors, tensor_shapes
from methods.networks.folding import fold_batch_norm
from methods.networks.functional import run_with
from methods.tasks import PreparedTask
from methods.training.batches import train_batches
from tests.methods.small_tasks import a_task


class _Whole(WeightSource):
    """All tensors at full width, of which a narrower width takes the first channels; remembers what it was asked."""

    def __init__(self, tensors: Sequence[Tensor], shapes) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.own = nn.ParameterList([nn.Parameter(tensor.clone()) for tensor in tensors])
        self.asked: list[list[float]] = []
        self._shapes = shapes

    def grow(self, parts: int) -> None:
        del parts

    def tensors(self, widths: Sequence[float], *, generator: torch.Generator, draws: int = 1) -> list[list[Tensor]]:
        del generator, draws
        self.asked.append(list(widths))
        return [
            [tensor[tuple(map(slice, shape))] for tensor, shape in zip(self.own, self._shapes(width), strict=True)]
            for width in widths
        ]


@pytest.fixture
def task() -> PreparedTask:
    return a_task("digits", "small_cnn", epochs=1, fraction=0.15, validation_share=0.3, precision="float32")


@pytest.mark.parametrize("distillation", [0.0, 0.7])
def test_one_step_has_the_summed_gradient_of_a_backward_pass_for_each_batch(
    task: PreparedTask, distillation: float
) -> None:
    weight_K = torch.linspace(0.5, 1.5, 10)
    task = replace(task, class_weights=weight_K)
    skeleton = fold_batch_norm(task.network()).eval()
    parts = morphing_parts(skeleton.architecture)
    targets = [tensor.clone() for tensor in own_tensors(skeleton, parts)]
    start = [tensor + 0.01 for tensor in targets]
    config = GrowthConfig(
        weight_decay=0.0,
        warmup_share=0.0,
        magnitude_weight=0.01,
        reconstruction_weight=3.0,
        distillation=distillation,
        accumulation=100,
    )
    source = _Whole(start, lambda width: tensor_shapes(parts, width))
    grow_network(
        skeleton,
        parts,
        source,
        task,
        config=config,
        steps=growth_steps(parts, 1, config=config),
        monitor=SilentMonitor(),
    )
    (widths, *_) = source.asked
    assert widths[0] == 1.0
    assert all(0.5 <= width <= 1.0 for width in widths)

    twin = _Whole(start, lambda width: tensor_shapes(parts, width))
    batches = train_batches(
        task.train,
        batch_size=task.batch_size,
        normalization=task.normalization,
        augmentation="none",
        generator=torch.Generator().manual_seed((task.seed * 1_000_003) % 2**63),
    )
    for width, (inputs, labels) in zip(widths, batches, strict=True):
        (tensors,) = twin.tensors([width], generator=torch.Generator())
        logits = run_with(skeleton, inputs, as_layers(parts, tensors))
        loss = (F.cross_entropy(logits, labels, reduction="none") * weight_K[labels]).mean() + 0.01 * magnitude(tensors)
        if width == 1.0:
            loss = loss + 3.0 * reconstruction(tensors, targets)
        else:
            full = run_with(skeleton, inputs, as_layers(parts, start)).detach().softmax(dim=1)
            soft = -(full * logits.log_softmax(dim=1)).sum(dim=1)
            loss = loss + distillation * (soft * weight_K[labels]).mean()
        (loss / len(widths)).backward()
    # The first step of Adam is the rate times the sign, up to its epsilon.
    for before, after, parameter in zip(start, source.own, twin.own, strict=True):
        assert parameter.grad is not None
        expected = before - 8e-4 * parameter.grad / (parameter.grad.abs() + 1e-8)
        clear = parameter.grad.abs() > 1e-5
        torch.testing.assert_close(after.detach()[clear], expected[clear], rtol=0, atol=2e-5)


@pytest.mark.parametrize("first", [True, False])
def test_the_full_width_leads_every_step_unless_all_widths_are_drawn(task: PreparedTask, first: bool) -> None:
    skeleton = fold_batch_norm(task.network()).eval()
    parts = morphing_parts(skeleton.architecture)
    config = GrowthConfig(accumulation=2, full_width_first=first, lowest_width=0.25)
    source = _Whole(own_tensors(skeleton, parts), lambda width: tensor_shapes(parts, width))
    steps = growth_steps(parts, 4, config=config)
    grow_network(skeleton, parts, source, task, config=config, steps=steps, monitor=SilentMonitor())
    leading = [widths[0] for widths in source.asked if len(widths) > 1]
    assert (set(leading) == {1.0}) is first
    assert {int(64 * width) == 64 * width for widths in source.asked for width in widths} == {True}
