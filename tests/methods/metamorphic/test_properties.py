"""What holds for the parts of metamorphic networks whatever the values, and what they refuse."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.metamorphic.coordinates import encode, normalise, perturb, raw_coordinates
from methods.metamorphic.generator import CoordinateMLPs
from methods.metamorphic.growth import GrowthStep, growth_order, inner_width
from methods.metamorphic.losses import magnitude, reconstruction
from methods.metamorphic.smoothing import network_total_variation, shortest_path_order, total_variation

SHAPES = st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple), min_size=1, max_size=4)


@settings(deadline=None)
@given(SHAPES)
def test_coordinates_are_those_of_plain_loops(shapes: list[tuple[int, ...]]) -> None:
    rows = []
    for index, shape in enumerate(shapes):
        inputs = shape[1] if len(shape) > 1 else 1
        for o, i in itertools.product(range(shape[0]), range(inputs)):
            rows.append([index, o, i, len(shapes), shape[0], inputs])
    assert raw_coordinates(shapes).tolist() == rows


@settings(deadline=None)
@given(st.integers(-(2**10), 2**20), st.integers(0, 40))
def test_codes_of_dyadic_fractions_are_exact_at_any_frequency(numerator: int, frequency: int) -> None:
    u = torch.full((1, 6), numerator / 2**10, dtype=torch.float64)
    angle = math.fmod(Fraction(numerator, 2**10) * 2**frequency, 2)
    code = encode(u, num_frequencies=frequency + 1)[0]
    sine, cosine = code[6 + 12 * frequency : 8 + 12 * frequency]
    wanted = torch.tensor(float(angle), dtype=torch.float64) * torch.pi
    assert abs(sine - wanted.sin()) < 1e-15
    assert abs(cosine - wanted.cos()) < 1e-15


def test_layouts_differ_by_the_order_of_columns_alone() -> None:
    u = torch.rand(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a, b = (encode(u, num_frequencies=3, layout=layout) for layout in ("a", "b"))
    assert not torch.equal(a, b)
    torch.testing.assert_close(a[:, 6:].reshape(4, 3, 6, 2).transpose(2, 3).flatten(1), b[:, 6:], rtol=0, atol=0)


def test_half_of_the_rows_of_neumeta_go_to_the_network_before() -> None:
    raw = raw_coordinates([(8, 8), (64, 64)])
    noise = torch.rand(raw.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.5
    rows = perturb(raw, noise, norm=64, variant="neumeta").tensor_id[64:]
    assert 0.47 < float((rows == 0).double().mean()) < 0.53
    assert bool((perturb(raw, noise, norm=64).tensor_id[64:] == 1).all())


@pytest.mark.parametrize(
    ("h", "widths"), [(64, (16, 32, 64)), (33, (8, 16, 33)), (48, (12, 24, 48)), (6, (2, 3, 6)), (80, (20, 40, 80))]
)
def test_inner_widths_are_rounded_half_to_even(h: int, widths: tuple[int, ...]) -> None:
    assert tuple(inner_width(h, width) for width in (16, 32, 64)) == widths


@pytest.mark.parametrize("h", [0, -3, 1, 2])
def test_widths_that_leave_no_channel_are_refused(h: int) -> None:
    with pytest.raises(ValueError, match="inner_width"):
        inner_width(h, 16)


def test_the_least_width_that_the_message_names_works() -> None:
    with pytest.raises(ValueError, match="give 3 or above"):
        inner_width(2, 16)
    assert inner_width(3, 16) == 1


def test_growth_goes_stage_by_stage_and_leaves_out_first_blocks_and_the_last() -> None:
    order = growth_order()
    assert len(order) == 23
    assert order[0] == GrowthStep(1, 1)
    assert order[8] == GrowthStep(2, 1)
    assert order[-1] == GrowthStep(3, 7)


def test_the_gradient_of_the_magnitude_at_zero_is_zero() -> None:
    weights = [torch.zeros(3, 2, requires_grad=True), torch.tensor([3.0, 4.0], requires_grad=True)]
    magnitude(weights).backward()
    assert weights[0].grad is not None
    assert bool((weights[0].grad == 0).all())
    torch.testing.assert_close(weights[1].grad, torch.tensor([0.6, 0.8]))


def test_gradients_of_the_losses_are_those_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    wanted = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((3, 2), (4,))]
    given = [torch.randn_like(tensor).requires_grad_() for tensor in wanted]
    assert torch.autograd.gradcheck(lambda *own: reconstruction(own, wanted), given)
    assert torch.autograd.gradcheck(lambda *own: reconstruction(own, wanted, weighted=True), given)
    assert torch.autograd.gradcheck(lambda *own: magnitude(own), given)


def _mlps(tensors: int = 3) -> CoordinateMLPs:
    mlps = CoordinateMLPs(num_tensors=tensors, num_frequencies=2, hidden=5, layers=3).double()
    mlps.initialise(torch.Generator().manual_seed(0))
    return mlps


def test_networks_run_together_equal_each_by_itself_in_values_and_gradients() -> None:
    mlps = _mlps()
    codes = torch.randn(2, 7, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    together = mlps(codes, [2, 0])
    alone = torch.cat([mlps(codes[:1], [2]), mlps(codes[1:], [0])])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)
    parameters = list(mlps.parameters())
    for one, other in zip(
        torch.autograd.grad(together.square().sum(), parameters),
        torch.autograd.grad(alone.square().sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_gradients_of_the_generator_are_those_of_finite_differences() -> None:
    mlps = _mlps(1)
    codes = torch.randn(1, 2, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    names = [name for name, _ in mlps.named_parameters()]

    def values(codes: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(mlps, dict(zip(names, parameters, strict=True)), (codes, [0]))

    assert torch.autograd.gradcheck(values, (codes, *mlps.parameters()))


def test_initial_weights_depend_on_the_seed_alone_and_differ_between_tensors() -> None:
    first, second = _mlps(), _mlps()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.first_weight[0], first.first_weight[1])
    assert first.first_weight.abs().max() <= 30**-0.5
    assert bool((first.scale.float() == 0.1).all())


def test_copied_networks_equal_their_sources_and_leave_others_alone() -> None:
    mlps = _mlps()
    before = {name: value.clone() for name, value in mlps.state_dict().items()}
    mlps.copy([0], [2])
    codes = torch.randn(1, 4, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(mlps(codes, [2]), mlps(codes, [0]))
    assert torch.equal(mlps.first_weight[:2], before["first_weight"][:2])
    assert torch.equal(mlps.residual_weight[:, 1], before["residual_weight"][:, 1])


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 7), st.integers(0, 1000))
def test_paths_are_permutations_and_among_the_shortest(channels: int, seed: int) -> None:
    vectors = torch.rand(channels, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    order = shortest_path_order(vectors)
    assert sorted(order) == list(range(channels))

    def length(path: tuple[int, ...] | list[int]) -> float:
        return float(vectors[list(path)].diff(dim=0).abs().sum())

    shortest = min(length(path) for path in itertools.permutations(range(channels)))
    assert length(order) <= shortest + 1e-3


def test_a_path_is_the_same_at_every_call_and_shortens_the_variation() -> None:
    vectors = torch.randn(64, 40, generator=torch.Generator().manual_seed(0))
    order = shortest_path_order(vectors)
    assert order == shortest_path_order(vectors)
    assert float(vectors[order].diff(dim=0).abs().sum()) < 0.9 * float(vectors.diff(dim=0).abs().sum())


def test_channels_that_are_all_alike_stay_as_they_are() -> None:
    assert shortest_path_order(torch.ones(5, 2)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_codes_of_half_precision_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match="too coarse to encode; give float64"):
        encode(torch.zeros(1, 6, dtype=dtype), num_frequencies=4)


def test_what_makes_no_sense_is_refused() -> None:
    raw = raw_coordinates([(2, 2)])
    for call, message in (
        (lambda: raw_coordinates([]), "give at least one"),
        (lambda: raw_coordinates([(3, 0)]), "sizes of 1 or above"),
        (lambda: normalise(raw, norm=0), "above 0"),
        (lambda: perturb(raw, raw[:1], norm=64), "one value for each"),
        (lambda: encode(raw, num_frequencies=-1), "0 or more"),
        (lambda: reconstruction([raw], []), "give the same"),
        (lambda: magnitude([]), "at least one"),
        (lambda: total_variation(torch.tensor(1.0)), "no neighbours"),
        (lambda: network_total_variation([]), "at least one"),
        (lambda: shortest_path_order(torch.tensor([[float("nan")]])), "finite"),
        (lambda: CoordinateMLPs(num_tensors=0, num_frequencies=1, hidden=2, layers=1), "num_tensors is too small"),
        (
            lambda: CoordinateMLPs(num_tensors=1, num_frequencies=1, hidden=2, layers=1, activation="gelu"),
            "no activation 'gelu'; give elu or relu",
        ),
        (lambda: _mlps().copy([0], [1, 2]), "1 sources for 2 targets"),
        (lambda: _mlps()(torch.zeros(2, 1, 30).double(), [0]), "give one each"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
