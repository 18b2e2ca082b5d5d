from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from methods.metamorphic.coordinates import encode, perturb, raw_coordinates
from methods.metamorphic.generation import Encoding, Shape, generate
from methods.metamorphic.generator import CoordinateMLPs, grown
from tests.benchmarks.metamorphic_generation import reference_generate, require_equal, shared_noise

SHAPES = [(3, 2, 3, 3), (3,), (4, 3, 3, 3), (4,), (5, 4, 2, 2), (5,), (6, 5), (6,), (2, 3, 3, 3)]
ENCODING = Encoding(num_frequencies=4, norm=6.0)


def _networks(count: int = len(SHAPES), *, outputs: int = 9) -> CoordinateMLPs:
    networks = CoordinateMLPs(num_tensors=count, num_frequencies=4, hidden=8, layers=3, outputs=outputs)
    networks.initialise(torch.Generator().manual_seed(0))
    return networks


def _seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_batched_generation_equals_one_tensor_at_a_time_in_value_and_gradient() -> None:
    networks = _networks()
    found = []
    for make in (
        lambda: generate(networks, [SHAPES], encoding=ENCODING, generator=_seeded())[0],
        lambda: reference_generate(networks, SHAPES, encoding=ENCODING, noise=shared_noise(SHAPES, seed=1)),
    ):
        networks.zero_grad()
        tensors = make()
        assert [tuple(tensor.shape) for tensor in tensors] == SHAPES
        torch.stack([tensor.square().sum() for tensor in tensors]).sum().backward()
        found.append([*(t.detach() for t in tensors), *(p.grad.clone() for p in networks.parameters())])
    for ours, reference in zip(*found, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-6)


def test_several_widths_in_one_pass_are_those_of_passes_of_their_own() -> None:
    networks, still = _networks(), replace(ENCODING, noise=0.0)
    narrow = [(2, 2, 3, 3), (2,), (4, 2, 3, 3), (4,), (3, 4, 2, 2), (3,), (6, 3), (6,), (1, 2, 3, 3)]
    together = generate(networks, [SHAPES, narrow], encoding=still, generator=_seeded())
    apart = [generate(networks, [shapes], encoding=still, generator=_seeded())[0] for shapes in (SHAPES, narrow)]
    for one, other in zip(together, apart, strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("variant", ["met", "neumeta"])
def test_the_mean_over_draws_does_not_hang_on_the_size_of_chunks(variant: str) -> None:
    networks, encoding = _networks(), replace(ENCODING, variant=variant)
    with torch.no_grad():
        many = generate(networks, [SHAPES], encoding=encoding, generator=_seeded(), draws=400, chunk_rows=10**6)
        few = generate(networks, [SHAPES], encoding=encoding, generator=_seeded(2), draws=400, chunk_rows=1)
        one = generate(networks, [SHAPES], encoding=encoding, generator=_seeded(3), draws=1)
    for a, b, c in zip(many[0], few[0], one[0], strict=True):
        assert (a - b).abs().max() < 0.04
        assert a.shape == c.shape
    assert any((a - c).abs().max() > 0.1 for a, c in zip(many[0], one[0], strict=True)), "one draw is no mean"


def _row_by_row(networks: CoordinateMLPs, shapes: Sequence[Shape], noise: Sequence[Tensor] | None) -> list[Tensor]:
    """Tensors as Neural Metamorphosis computes them; without noise a row goes to its own network."""
    raw = raw_coordinates([shape[:2] for shape in shapes])
    shift = torch.zeros_like(raw) if noise is None else torch.cat(list(noise)) - 0.5
    u, divisor, tensor_id = perturb(raw, shift, norm=ENCODING.norm, variant="neumeta")
    codes = encode(u, num_frequencies=ENCODING.num_frequencies, dtype=torch.float32)
    values = [
        networks(code[None, None], [index])[0, 0] / own.float()
        for code, own, index in zip(codes, divisor, tensor_id.clamp(0, len(networks) - 1).tolist(), strict=True)
    ]
    pieces = torch.split(torch.stack(values), [math.prod(shape[:2]) for shape in shapes])
    taps = [math.prod(shape[2:]) for shape in shapes]
    starts = [0 if count == 1 else networks.outputs // 2 - count // 2 for count in taps]
    return [
        piece[:, start : start + count].reshape(shape)
        for piece, start, count, shape in zip(pieces, starts, taps, shapes, strict=True)
    ]


def test_neural_metamorphosis_equals_one_row_at_a_time_in_value_and_gradient() -> None:
    networks, encoding = _networks(), replace(ENCODING, variant="neumeta")
    found = []
    for make in (
        lambda: generate(networks, [SHAPES], encoding=encoding, generator=_seeded())[0],
        lambda: _row_by_row(networks, SHAPES, shared_noise(SHAPES, seed=1)),
    ):
        networks.zero_grad()
        tensors = make()
        torch.stack([tensor.square().sum() for tensor in tensors]).sum().backward()
        found.append([*(t.detach() for t in tensors), *(p.grad.clone() for p in networks.parameters())])
    for ours, reference in zip(*found, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_the_first_of_several_draws_of_neural_metamorphosis_has_no_noise() -> None:
    networks, encoding = _networks(), replace(ENCODING, variant="neumeta")
    mean = generate(networks, [SHAPES], encoding=encoding, generator=_seeded(), draws=2)[0]
    draws = (_row_by_row(networks, SHAPES, noise) for noise in (None, shared_noise(SHAPES, seed=1)))
    for found, still, noisy in zip(mean, *draws, strict=True):
        torch.testing.assert_close(found, (still + noisy) / 2, rtol=1e-5, atol=1e-6)


class _Memory(TorchDispatchMode):
    """Most bytes that storages made under it held at once."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._held = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        given = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            storage = leaf.untyped_storage() if isinstance(leaf, Tensor) else None
            if storage is not None and storage._cdata not in given and storage not in self._known:
                self._known.add(storage)
                weakref.finalize(storage, self._freed, storage.nbytes())
                self._held += storage.nbytes()
                self.peak = max(self.peak, self._held)
        return made

    def _freed(self, count: int) -> None:
        self._held -= count


@pytest.mark.parametrize(("frequencies", "hidden"), [(32, 16), (4, 128), (16, 64)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_a_call_takes_no_more_memory_than_it_says(frequencies: int, hidden: int, dtype: torch.dtype) -> None:
    shapes = [(64, 48, 3, 3), (64,), (48, 64, 3, 3), (48,)]
    networks = CoordinateMLPs(num_tensors=4, num_frequencies=frequencies, hidden=hidden, layers=3)
    networks.initialise(torch.Generator().manual_seed(0))
    weights = sum(4 * parameter.numel() for parameter in networks.parameters())
    rows = sum(math.prod(shape[:2]) for shape in shapes)
    encoding = Encoding(num_frequencies=frequencies, norm=64.0)
    for draws, chunk in ((1, 1), (6, 3)):
        with _Memory() as memory:
            generate(
                networks,
                [shapes],
                encoding=encoding,
                generator=_seeded(),
                draws=draws,
                chunk_rows=3 * rows,
                dtype=dtype,
            )
        each = max(120 * frequencies, 48 * frequencies + 12 * hidden) + 12 * networks.outputs + 250
        layer = 4 * 4 * hidden * max(hidden, 6 + 12 * frequencies) if dtype == torch.bfloat16 else 0
        assert each * chunk * rows / 2 < memory.peak <= each * chunk * rows + weights + layer


def test_without_noise_every_draw_is_the_same() -> None:
    networks, still = _networks(), replace(ENCODING, noise=0.0)
    once, often = (
        generate(networks, [SHAPES], encoding=still, generator=_seeded(), draws=draws)[0] for draws in (1, 7)
    )
    assert all(torch.equal(a, b) for a, b in zip(once, often, strict=True))


def test_the_noisy_index_of_neural_metamorphosis_takes_rows_to_the_network_before() -> None:
    networks = _networks()
    with torch.no_grad():
        networks.last_weight.zero_()
        networks.last_bias.copy_(torch.arange(len(SHAPES))[:, None].expand(-1, 9))
    encoding = replace(ENCODING, variant="neumeta")
    (bias,) = generate(networks, [[(64,)] * len(SHAPES)], encoding=encoding, generator=_seeded())
    # Biases have one input, whose noisy number divides: between a half and three halves.
    owners = (bias[3] * 1.0).detach()
    from_before = (owners < 3 * 2 / 3).float().mean()
    assert 0.2 < from_before < 0.8
    (own,) = generate(networks, [[(64,)] * len(SHAPES)], encoding=ENCODING, generator=_seeded())
    assert torch.equal(own[3].detach(), torch.full((64,), 3.0))


def test_a_longer_list_moves_coordinates_unless_its_length_is_fixed() -> None:
    networks, more = _networks(2), _networks(3)
    more.load_state_dict(grown(networks, [None], generator=_seeded()).state_dict())
    for length, equal in ((9, True), (None, False)):
        encoding = replace(ENCODING, noise=0.0, list_length=length)
        before = generate(networks, [SHAPES[:2]], encoding=encoding, generator=_seeded())[0]
        after = generate(more, [SHAPES[:3]], encoding=encoding, generator=_seeded())[0]
        assert torch.allclose(before[0], after[0], atol=1e-6) is equal


def test_small_kernels_take_the_outputs_around_the_middle_one() -> None:
    networks = _networks(3, outputs=25)
    with torch.no_grad():
        networks.last_weight.zero_()
        networks.last_bias.copy_(torch.arange(25.0).expand(3, -1))
    shapes = [(1, 1, 3, 3), (1,), (1, 1, 5, 5)]
    kernel, bias, whole = generate(networks, [shapes], encoding=ENCODING, generator=_seeded())[0]
    assert kernel.flatten().tolist() == list(range(8, 17))
    assert bias.tolist() == [0.0]
    assert whole.flatten().tolist() == list(range(25))


def test_bfloat16_is_near_float32() -> None:
    networks = _networks()
    exact, near = (
        generate(networks, [SHAPES], encoding=ENCODING, generator=_seeded(), dtype=dtype)[0]
        for dtype in (torch.float32, torch.bfloat16)
    )
    for a, b in zip(exact, near, strict=True):
        assert b.dtype == torch.float32
        assert (a - b).abs().max() < 0.03 * a.abs().max() + 1e-3


def test_further_networks_are_copies_and_the_old_ones_stay_bit_for_bit() -> None:
    networks = _networks(4)
    more = grown(networks, [2, None, 0], generator=_seeded())
    assert len(more) == 7
    for name, parameter in networks.named_parameters():
        dim = 0 if name.startswith(("first", "last")) else 1
        new = more.get_parameter(name)
        assert torch.equal(new.narrow(dim, 0, 4), parameter)
        assert torch.equal(new.select(dim, 4), parameter.select(dim, 2))
        assert torch.equal(new.select(dim, 6), parameter.select(dim, 0))
    assert not torch.equal(more.first_weight[5], more.first_weight[4])


def test_further_networks_have_the_type_of_the_old_ones() -> None:
    networks = _networks(2).double()
    with torch.no_grad():
        networks.first_weight += 2.0**-40  # lost in float32
    more = grown(networks, [None, 1], generator=_seeded())
    assert all(parameter.dtype == torch.float64 for parameter in more.parameters())
    assert torch.equal(more.first_weight[:2], networks.first_weight)
    assert torch.equal(more.first_weight[3], networks.first_weight[1])


def test_the_benchmark_stops_where_a_side_is_not_a_number() -> None:
    networks = _networks(1)
    with pytest.raises(SystemExit, match="the two sides differ"):
        require_equal(
            networks,
            lambda: sum(parameter.sum() for parameter in networks.parameters()) * math.nan,
            lambda: sum(parameter.sum() for parameter in networks.parameters()),
        )


def test_what_does_not_fit_is_refused() -> None:
    networks = _networks(2)
    with pytest.raises(ValueError, match="3 shapes for 2 networks"):
        generate(networks, [SHAPES[:3]], encoding=ENCODING, generator=_seeded())
    with pytest.raises(ValueError, match="a kernel of 25 taps, and the networks put out 9"):
        generate(networks, [[(1, 1, 5, 5), (1,)]], encoding=ENCODING, generator=_seeded())
    with pytest.raises(ValueError, match="0 draws"):
        generate(networks, [SHAPES[:2]], encoding=ENCODING, generator=_seeded(), draws=0)
    with pytest.raises(ValueError, match="no width"):
        generate(networks, [], encoding=ENCODING, generator=_seeded())
    with pytest.raises(ValueError, match=r"products in torch\.float16; give torch\.float32"):
        generate(networks, [SHAPES[:2]], encoding=ENCODING, generator=_seeded(), dtype=torch.float16)
    with pytest.raises(ValueError, match="codes of 3 frequencies for networks that read 4"):
        generate(networks, [SHAPES[:2]], encoding=replace(ENCODING, num_frequencies=3), generator=_seeded())
    with pytest.raises(ValueError, match="no network 5 to copy"):
        grown(networks, [5], generator=_seeded())
