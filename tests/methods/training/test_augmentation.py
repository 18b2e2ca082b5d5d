from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.training.augmentation import augment


def _images(count: int, *, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (count, 2, size, size), dtype=torch.uint8, generator=generator)


def _views(image: Tensor, *, pad: int) -> dict[tuple[int, int, bool], Tensor]:
    """Every crop of the padded image, and its mirror image, made one by one."""
    size = image.shape[-1]
    padded = F.pad(image, (pad,) * 4)
    views: dict[tuple[int, int, bool], Tensor] = {}
    for top in range(2 * pad + 1):
        for left in range(2 * pad + 1):
            crop = padded[:, top : top + size, left : left + size]
            views |= {(top, left, False): crop, (top, left, True): crop.flip(2)}
    return views


def test_every_image_becomes_a_crop_or_a_mirrored_crop_of_itself_and_all_of_them_occur() -> None:
    image = _images(1, size=8)
    views = _views(image[0], pad=1)
    out = augment(image.expand(900, -1, -1, -1), kind="crop_flip", generator=torch.Generator().manual_seed(3))
    counts = {place: sum(torch.equal(view, one) for one in out) for place, view in views.items()}
    assert sum(counts.values()) == 900
    # 18 views, 50 expected of each, standard deviation 6.9.
    assert all(20 <= count <= 80 for count in counts.values())


def test_images_of_32_pixels_are_padded_by_4() -> None:
    images = _images(20, size=32)
    out = augment(images, kind="crop_flip", generator=torch.Generator().manual_seed(3))
    for image, one in zip(images, out, strict=True):
        assert any(torch.equal(view, one) for view in _views(image, pad=4).values())


def test_the_same_generator_state_gives_the_same_views() -> None:
    images = _images(16, size=8)
    first, second = (augment(images, kind="crop_flip", generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert (first.shape, first.dtype) == (images.shape, torch.uint8)
    assert first.is_contiguous(memory_format=torch.channels_last)


def test_no_augmentation_changes_nothing_and_draws_nothing() -> None:
    images, generator = _images(4, size=8), torch.Generator().manual_seed(5)
    before = generator.get_state()
    assert augment(images, kind="none", generator=generator) is images
    assert torch.equal(generator.get_state(), before)
