from __future__ import annotations

import math

import pytest
import torch

from methods.contract import Outcome, SilentMonitor, UnsupportedTask, UnsupportedWidth
from methods.dense import Dense
from methods.metamorphic.config import MetamorphicConfig
from methods.metamorphic.drawing import MetamorphicGenerator
from methods.metamorphic.method import Metamorphic
from methods.metamorphic.prefit import prefit
from methods.metamorphic.weight_source import GeneratedWeights
from methods.morphing.losses import reconstruction
from methods.morphing.parts import morphing_parts
from methods.morphing.tensors import own_tensors, resampled, tensor_shapes
from methods.networks.folding import fold_batch_norm
from methods.networks.graph import Network
from methods.networks.reordering import reordered
from methods.training.config import DenseConfig
from tests.methods.small_tasks import Lost, Recorder, a_task

TINY = {
    "hidden": 16,
    "layers": 2,
    "num_frequencies": 3,
    "draws": 2,
    "prefit_steps": 0,
    "warmup_share": 0.0,
    "widths": (0.5, 1.0),
}
TASK = a_task("digits", "resnet20", epochs=5, fraction=0.05, validation_share=0.4)
WHOLE = a_task("digits", "small_cnn", epochs=4, fraction=0.1, validation_share=0.3)


@pytest.fixture(scope="module")
def teacher() -> Network:
    """Trained a little: better than chance."""
    longer = a_task("digits", "resnet20", epochs=8, fraction=0.3, validation_share=0.4)
    return Dense(DenseConfig()).fit(longer, {}, SilentMonitor()).variants[0].network  # type: ignore[return-value]


def _fit(teacher: Network, monitor: SilentMonitor | None = None, **changes: object) -> Outcome:
    config = MetamorphicConfig(**{**TINY, **changes})
    return Metamorphic(config).fit(TASK, {"dense": teacher}, monitor or SilentMonitor())


def _generator(outcome: Outcome) -> MetamorphicGenerator:
    assert isinstance(outcome.generator, MetamorphicGenerator)
    return outcome.generator


def test_a_new_block_starts_from_the_generators_of_the_block_before() -> None:
    parts = morphing_parts(TASK.info.architecture)
    source = GeneratedWeights(parts, config=MetamorphicConfig(**TINY), seed=0)
    source.grow(1)
    source.grow(2)
    weights = source.networks.first_weight
    assert torch.equal(weights[4:8], weights[:4])
    source.grow(3)
    # The first block of the next stage has no block before it.
    assert not torch.equal(source.networks.first_weight[8:12], source.networks.first_weight[4:8])
    fresh = GeneratedWeights(parts, config=MetamorphicConfig(**TINY, copy_previous=False), seed=0)
    fresh.grow(1)
    fresh.grow(2)
    assert not torch.equal(fresh.networks.first_weight[4:8], fresh.networks.first_weight[:4])


def test_frozen_tensors_stay_bit_identical(teacher: Network) -> None:
    outcome = _fit(teacher, permute=False, head_learning_rate=0.0)
    fused = fold_batch_norm(teacher).eval()
    generator = _generator(outcome)
    morphing = {layer.name for part in generator.parts for layer in part.layers}
    state = generator.skeleton.state_dict()
    for name, value in fused.state_dict().items():
        assert torch.equal(state[name], value)
        if name.split(".")[1] not in morphing:
            for variant in outcome.variants:
                assert torch.equal(variant.network.state_dict()[name], value)


def test_last_block_and_classifier_are_trained_with_the_last_stage(teacher: Network) -> None:
    fused = fold_batch_norm(teacher).eval().state_dict()
    state = _generator(_fit(teacher, permute=False)).skeleton.state_dict()
    moved = {name.split(".")[1] for name in fused if not torch.equal(state[name], fused[name])}
    assert moved == {"stage3_block3_a_conv", "stage3_block3_b_conv", "classifier"}


def test_gates_start_closed_and_only_grown_blocks_have_moved(teacher: Network) -> None:
    monitor = Recorder(break_at=2)
    with pytest.raises(Lost):
        _fit(teacher, monitor)
    state = monitor.resume()
    assert state is not None
    gates = state["learners"][1]["network"]["factor"]
    assert state["step"] == 1
    assert bool((gates[:2] != 0).all())
    assert bool((gates[2:] == 0).all())


def test_resuming_at_every_growth_step_equals_never_having_stopped(teacher: Network) -> None:
    straight = _fit(teacher, Recorder(), averaging=0.5, distillation=0.5, drop_probability=0.3)
    for stop in (1, 3, 5):
        broken = Recorder(break_at=stop)
        with pytest.raises(Lost):
            _fit(teacher, broken, averaging=0.5, distillation=0.5, drop_probability=0.3)
        resumed = _fit(teacher, Recorder(stored=broken.stored), averaging=0.5, distillation=0.5, drop_probability=0.3)
        for one, other in zip(straight.variants, resumed.variants, strict=True):
            for a, b in zip(one.network.state_dict().values(), other.network.state_dict().values(), strict=True):
                assert torch.equal(a, b)


@pytest.mark.parametrize(
    "changes",
    [
        # Neural Metamorphosis: the last block alone, without gate, one batch a step, noisy choice of the generator.
        {"blocks": "last", "gate": "none", "accumulation": 1, "noise_variant": "neumeta", "schedule": "step",
         "averaging": 0.995, "weighted_reconstruction": True, "head_learning_rate": 0.0, "noise": 1.0,
         "full_width_first": False},
        {"one_shot": True, "list_length": "current", "layout": "b", "activation": "relu"},
        {"blocks": "all", "gate_start": 1.0, "cosine_floor": 1.0, "list_length": "current"},
    ],
)  # fmt: skip
def test_published_behaviours_are_switches(teacher: Network, changes: dict[str, object]) -> None:
    task = a_task("digits", "resnet20", epochs=9, fraction=0.03, validation_share=0.5)
    outcome = Metamorphic(MetamorphicConfig(**{**TINY, **changes})).fit(task, {"dense": teacher}, SilentMonitor())
    for variant in outcome.variants:
        assert all(bool(torch.isfinite(value).all()) for value in variant.network.state_dict().values())


def test_networks_come_at_any_width_and_say_what_was_trained(teacher: Network) -> None:
    outcome = _fit(teacher, widths=(0.25, 1.0, 1.25))
    assert [variant.label for variant in outcome.variants] == ["width_0.25", "width_1", "width_1.25"]
    assert [variant.settings["seen"] for variant in outcome.variants] == [False, True, False]
    assert outcome.variants[0].settings["compression_ratio"] == 0.75
    generator = _generator(outcome)
    drawn = generator.draw(0.4)
    assert drawn.network.nodes["stage3_block2_a_conv"].weight.shape == (26, 64, 3, 3)
    assert "0.4 was not trained: training saw 0.5 to 1" in drawn.notes[0]
    assert generator.draw(0.7).notes == ()
    own = sum(value.numel() for value in generator.source.parameters())
    assert own < generator.parameters < own + 273_000


@pytest.mark.parametrize("width", [0.0, -0.5, 2.1, math.nan])
def test_widths_that_nobody_can_draw_are_refused_with_those_that_one_can(teacher: Network, width: float) -> None:
    with pytest.raises(UnsupportedWidth, match=r"above 0 and at most 2; training saw 0.5 to 1"):
        _generator(_fit(teacher)).draw(width)


def test_blocks_that_add_least_are_left_out_first(teacher: Network) -> None:
    outcome = _fit(teacher, drop_probability=0.2, depths=(0.5,), gate_learning_rate=0.05)
    generator = _generator(outcome)
    assert generator.blocks == (3, 3, 3)
    assert outcome.variants[-1].label == "width_1_depth_2-2-2"
    first, second = generator.importance[0], generator.importance[1]
    drawn = generator.draw(1.0, depth=[2, 3, 3]).network
    left = "stage1_block2" if first < second else "stage1_block3"
    assert f"{left}_a_conv" not in drawn.nodes
    assert f"{'stage1_block3' if first < second else 'stage1_block2'}_a_conv" in drawn.nodes
    with pytest.raises(UnsupportedWidth, match=r"depth \[0, 3, 3\].*from \[2, 2, 2\] to \[3, 3, 3\]"):
        generator.draw(1.0, depth=[0, 3, 3])


def test_depth_is_fixed_where_no_block_was_left_out_in_training(teacher: Network) -> None:
    with pytest.raises(UnsupportedWidth, match=r"depth is fixed.*drop_probability"):
        _generator(_fit(teacher)).draw(1.0, depth=[2, 2, 3])


def test_a_stored_generator_draws_the_same_networks(teacher: Network) -> None:
    outcome = _fit(teacher, drop_probability=0.2)
    generator = _generator(outcome)
    again = Metamorphic.load_generator(generator.save())
    for width, depth in ((1.0, None), (0.3, None), (0.6, [2, 2, 2])):
        one, other = generator.draw(width, depth=depth), again.draw(width, depth=depth)
        assert one.settings == other.settings
        for a, b in zip(one.network.state_dict().values(), other.network.state_dict().values(), strict=True):
            assert torch.equal(a, b)
    # What is delivered is what is drawn.
    delivered = next(variant for variant in outcome.variants if variant.label == "width_1").network
    drawn = again.draw(1.0).network
    for a, b in zip(delivered.state_dict().values(), drawn.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_stored_generator_keeps_the_orders_of_the_trained_networks_channels(teacher: Network) -> None:
    again = Metamorphic.load_generator(_generator(_fit(teacher, head_learning_rate=0.0)).save())
    assert any(order is not None and list(order) != sorted(order) for order in again.orders)
    in_order = reordered(fold_batch_norm(teacher).eval(), again.orders)
    for name, value in again.skeleton.state_dict().items():
        assert torch.equal(in_order.state_dict()[name], value), name
    assert Metamorphic.load_generator(_generator(_fit(teacher, permute=False)).save()).orders == ()


def test_bytes_that_hold_no_generator_or_half_of_one_are_refused(teacher: Network) -> None:
    data = _generator(_fit(teacher)).save()
    with pytest.raises(ValueError):  # noqa: PT011
        Metamorphic.load_generator(data[:-20])
    with pytest.raises(ValueError):  # noqa: PT011
        Metamorphic.load_generator(b"nothing of the kind")


def test_prefit_brings_new_tensors_near_the_trained_ones_at_every_width_and_leaves_old_ones_alone(
    teacher: Network,
) -> None:
    skeleton = fold_batch_norm(teacher).eval()
    parts = morphing_parts(skeleton.architecture)[:2]
    targets = own_tensors(skeleton, parts)
    config = MetamorphicConfig(**{**TINY, "hidden": 32, "noise": 0.0})
    source = GeneratedWeights(parts, config=config, seed=0)
    source.grow(1)
    source.grow(2)
    before = [tensor.detach().clone() for tensor in source.tensors([1.0], generator=torch.Generator())[0]]

    def distance(width: float) -> float:
        (made,) = source.tensors([width], generator=torch.Generator())
        wanted = resampled(targets, tensor_shapes(parts, width))
        return reconstruction(made[4:], wanted[4:]).item()

    far = {width: distance(width) for width in (1.0, 0.6)}
    prefit(source, parts, targets, first=4, steps=150, learning_rate=1e-2, lowest_width=0.5, seed=0)
    assert all(distance(width) < 0.5 * was for width, was in far.items())
    after = source.tensors([1.0], generator=torch.Generator())[0]
    assert all(torch.equal(one, other) for one, other in zip(before[:4], after[:4], strict=True))


def test_a_teacher_that_is_missing_or_at_chance_is_refused() -> None:
    method = Metamorphic(MetamorphicConfig(**TINY))
    with pytest.raises(ValueError, match="no trained network was given"):
        method.fit(TASK, {}, SilentMonitor())
    with pytest.raises(ValueError, match=r"is right on .*it has learned nothing to go on from"):
        method.fit(TASK, {"dense": TASK.network()}, SilentMonitor())


def test_tasks_it_cannot_work_on_are_refused_with_what_would_do() -> None:
    with pytest.raises(UnsupportedTask, match="regression; use"):
        Metamorphic(MetamorphicConfig()).check(a_task("diabetes", "mlp", epochs=1).info)
    with pytest.raises(UnsupportedTask, match=r"network 'small_cnn': width 0\.01 leaves a layer of 16 units none"):
        Metamorphic(MetamorphicConfig(widths=(0.01,))).check(WHOLE.info)
    with pytest.raises(UnsupportedTask, match="5 growth steps of 2 epochs take 10, and the task has 5"):
        Metamorphic(MetamorphicConfig(block_epochs=2)).fit(TASK, {}, SilentMonitor())


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="depths need blocks left out in training"):
        MetamorphicConfig(depths=(0.5,))
    with pytest.raises(ValueError, match="set full_width_first to true"):
        MetamorphicConfig(distillation=1.0, full_width_first=False)
    with pytest.raises(ValueError, match="must ascend"):
        MetamorphicConfig(widths=(1.0, 0.5))
    with pytest.raises(ValueError, match="leaves out the full width"):
        MetamorphicConfig(highest_width=0.9)
