from __future__ import annotations

import numpy as np

from methods.data.known_sets import known_set, recognise


def images_like(name: str, *, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    known = known_set(name)
    count = known.num_classes * known.samples_per_class
    mean = np.array(known.normalization.mean)[:, None, None]
    image = np.broadcast_to(np.rint((mean + shift) * 255), known.input_shape).astype(np.uint8)
    return np.broadcast_to(image, (count, *known.input_shape)), np.arange(count) % known.num_classes


def test_a_published_set_is_recognised_by_shape_classes_and_colour() -> None:
    inputs, targets = images_like("cifar10")
    known = recognise(inputs, targets)
    assert known is not None
    assert known.name == "cifar10"
    assert recognise(inputs[:-1], targets[:-1]) is known  # one image that did not decode


def test_another_set_of_the_same_shape_is_not_taken_for_it() -> None:
    assert recognise(*images_like("cifar10", shift=0.02)) is None
    inputs, targets = images_like("cifar10")
    assert recognise(inputs[:25000], targets[:25000]) is None
    assert recognise(inputs[:, :, :16], targets) is None


def test_constants_of_the_specification_are_kept() -> None:
    assert known_set("cifar10").normalization.mean == (0.4914, 0.4822, 0.4465)
    assert known_set("cifar100").normalization.std == (0.2675, 0.2565, 0.2761)
    assert known_set("tiny_imagenet").normalization.mean == (0.480246, 0.448072, 0.397548)
    assert len(known_set("cifar10").class_names) == 10
