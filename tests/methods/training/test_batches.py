from __future__ import annotations

import pytest
import torch
from torch import Tensor

from methods.contract import Normalization, Split
from methods.data.normalise import normalise
from methods.training import batches
from methods.training.batches import num_batches, plain_batches, train_batches

NORMALIZATION = Normalization(mean=(0.5,), std=(0.25,))


def _numbered(count: int) -> Split:
    """Images whose pixels and target are their number."""
    number = torch.arange(count)
    return Split(number.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous(), number)


def _epoch(split: Split, batch_size: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return list(
        train_batches(
            split, batch_size=batch_size, normalization=NORMALIZATION, augmentation="none", generator=generator
        )
    )


def test_an_epoch_shows_every_sample_once_with_its_own_target() -> None:
    split = _numbered(50)
    epoch = _epoch(split, 16)
    assert [len(targets) for _, targets in epoch] == [16, 16, 16, 2]
    order = torch.cat([targets for _, targets in epoch])
    assert sorted(order.tolist()) == list(range(50))
    assert order.tolist() != list(range(50))
    assert torch.equal(torch.cat([inputs for inputs, _ in epoch]), normalise(split.inputs[order], NORMALIZATION))


def test_the_order_comes_from_the_generator_alone() -> None:
    def order(seed: int) -> list[int]:
        return torch.cat([targets for _, targets in _epoch(_numbered(40), 8, seed)]).tolist()

    assert order(1) == order(1)
    assert order(1) != order(2)


@pytest.mark.parametrize(("count", "batch_size", "shown"), [(33, 16, 32), (34, 16, 34), (5, 1, 5), (1, 16, 1)], ids=str)
def test_a_last_batch_of_one_sample_is_left_out_of_training(count: int, batch_size: int, shown: int) -> None:
    assert sum(len(targets) for _, targets in _epoch(_numbered(count), batch_size)) == shown


def test_preparing_in_several_chunks_shows_the_same_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _epoch(_numbered(50), 8)
    monkeypatch.setattr(batches, "_CHUNK_BYTES", 1)
    pieces = _epoch(_numbered(50), 8)
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(whole, pieces, strict=True))


def test_images_are_laid_out_channels_last() -> None:
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x, _ in _epoch(_numbered(20), 8))


def test_plain_batches_keep_the_order_and_the_last_sample() -> None:
    split = _numbered(33)
    shown = list(plain_batches(split, batch_size=16, normalization=NORMALIZATION))
    assert [len(targets) for _, targets in shown] == [16, 16, 1]
    assert torch.equal(torch.cat([targets for _, targets in shown]), split.targets)


def test_tables_are_never_augmented() -> None:
    table = Split(torch.arange(12.0).view(6, 2), torch.arange(6))
    generator = torch.Generator().manual_seed(0)
    (inputs, targets), *rest = train_batches(
        table, batch_size=6, normalization=NORMALIZATION, augmentation="crop_flip", generator=generator
    )
    assert not rest
    assert torch.equal(inputs, normalise(table.inputs[targets], NORMALIZATION))


@pytest.mark.parametrize("batch_size", [1, 7, 16, 99])
def test_batches_are_counted_without_making_them(batch_size: int) -> None:
    for count in (1, 2, 15, 16, 17, 33, 43):
        assert num_batches(count, batch_size=batch_size) == len(_epoch(_numbered(count), batch_size)), count
