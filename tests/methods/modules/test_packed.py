"""Keep-sets survive as bits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.modules.packed import packed_masks, unpacked_masks


@settings(max_examples=40, deadline=None)
@given(num_modules=st.integers(1, 12), units=st.lists(st.integers(1, 70), max_size=5), seed=st.integers(0))
def test_masks_come_back_bit_for_bit(num_modules: int, units: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed % 2**32)
    masks = [torch.rand(num_modules, count, generator=generator) < 0.5 for count in units]
    packed = packed_masks(masks)
    assert packed.numel() == -(-num_modules * sum(units) // 8)
    found = unpacked_masks(packed, num_modules=num_modules, units=units)
    assert all(torch.equal(one, other) for one, other in zip(found, masks, strict=True))


@pytest.mark.parametrize("packed", [None, torch.zeros(3, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)])
def test_bits_of_other_modules_are_refused(packed: torch.Tensor | None) -> None:
    with pytest.raises(ValueError, match="do not fit 2 modules and 8 units"):
        unpacked_masks(packed, num_modules=2, units=[5, 3])
