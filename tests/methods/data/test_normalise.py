"""What a network reads is what was stored, brought to the scale it was trained on."""

from __future__ import annotations

import pytest
import torch

from methods.contract import Normalization
from methods.data.normalise import normalise


def test_images_are_scaled_to_one_and_normalised_per_channel() -> None:
    images = torch.tensor([0, 255, 51, 102], dtype=torch.uint8).view(1, 2, 1, 2)
    out = normalise(images, Normalization(mean=(0.5, 0.2), std=(0.25, 0.1)))
    torch.testing.assert_close(out, torch.tensor([-2.0, 2.0, 0.0, 2.0]).view(1, 2, 1, 2))
    assert out.dtype == torch.float32


def test_tables_are_normalised_per_feature_and_left_unchanged_themselves() -> None:
    table = torch.tensor([[1.0, 200.0], [3.0, 100.0]])
    out = normalise(table, Normalization(mean=(1.0, 100.0), std=(2.0, 50.0)))
    assert out.tolist() == [[0.0, 2.0], [1.0, 0.0]]
    assert table.tolist() == [[1.0, 200.0], [3.0, 100.0]]


def test_memory_format_is_kept() -> None:
    images = torch.zeros((2, 3, 4, 4), dtype=torch.uint8).to(memory_format=torch.channels_last)
    out = normalise(images, Normalization(mean=(0.1,), std=(1.0,)))
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_statistics_of_another_number_of_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="one of each per channel"):
        normalise(torch.zeros((1, 3, 2, 2), dtype=torch.uint8), Normalization(mean=(0.1, 0.2), std=(1.0, 1.0)))
