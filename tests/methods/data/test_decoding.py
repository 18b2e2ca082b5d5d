from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from methods.data.dataset import DataError
from methods.data.decoding import DecodedImages, EncodedImage, decode_images
from tests.methods.data.image_files import encode, random_pixels


def decode(*contents: bytes | Path | None) -> DecodedImages:
    images = [EncodedImage(f"image {n}", content, n, False) for n, content in enumerate(contents)]
    return decode_images(images, count=len(images))


def saved(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def test_lossless_colour_images_come_back_exactly_and_in_order() -> None:
    pixels = random_pixels(600)  # several chunks
    decoded = decode(*(encode(image) for image in pixels))
    assert decoded.inputs.dtype == np.uint8
    assert np.array_equal(decoded.inputs, pixels.transpose(0, 3, 1, 2))
    assert decoded.targets.tolist() == list(range(600))


def test_large_images_take_the_parallel_way_with_the_same_result(tmp_path: Path) -> None:
    pixels = random_pixels(40, size=(70, 60))
    contents = [encode(image) for image in pixels]
    files = [tmp_path / f"{n}.png" for n in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    assert np.array_equal(decode(*contents).inputs, pixels.transpose(0, 3, 1, 2))
    assert np.array_equal(decode(*files).inputs, pixels.transpose(0, 3, 1, 2))


def test_grey_images_stay_single_channel_until_a_colour_one_comes() -> None:
    grey, colour = random_pixels(2, channels=1), random_pixels(1)
    assert np.array_equal(decode(encode(grey[0]), encode(grey[1])).inputs, grey[:, None])
    mixed = decode(encode(grey[0]), encode(colour[0]), encode(grey[1])).inputs
    assert np.array_equal(mixed[0], np.stack([grey[0]] * 3))
    assert np.array_equal(mixed[1], colour[0].transpose(2, 0, 1))
    assert np.array_equal(mixed[2], np.stack([grey[1]] * 3))


def test_sixteen_bit_grey_keeps_its_upper_bits() -> None:
    deep = np.array([[0, 255, 256], [32768, 40000, 65535]], dtype=np.uint16)
    assert decode(saved(Image.fromarray(deep))).inputs.tolist() == [[[[0, 0, 1], [128, 156, 255]]]]


def test_palettes_and_transparency_become_plain_colour() -> None:
    colour = Image.fromarray(np.full((4, 4, 3), (255, 0, 0), dtype=np.uint8))
    palette = colour.quantize(4)
    clear = palette.copy()
    clear.info["transparency"] = b"\x00\x80"
    for image in (palette, clear, colour.convert("RGBA")):
        assert decode(saved(image)).inputs[0, :, 0, 0].tolist() == [255, 0, 0]


def test_images_that_do_not_decode_are_named_and_left_out() -> None:
    good = encode(random_pixels(1)[0])
    torn_jpeg = encode(random_pixels(1, size=(64, 64))[0], kind="JPEG")[:700]
    bent = bytearray(encode(random_pixels(1, size=(64, 64))[0]))
    bent[60:200] = bytes(140)
    no_range = saved(Image.fromarray(np.ones((6, 5), dtype=np.float32)), "TIFF")
    decoded = decode(good, b"", b"not an image", good[:50], torn_jpeg, bytes(bent), None, no_range, good)
    assert decoded.undecodable == tuple(f"image {n}" for n in range(1, 8))
    assert decoded.targets.tolist() == [0, 8]
    assert len(decoded.inputs) == 2


def test_the_first_image_of_another_size_is_named() -> None:
    contents = [encode(random_pixels(1, size=size)[0]) for size in ((6, 5), (6, 5), (5, 6), (7, 7))]
    with pytest.raises(DataError, match="image 2 is 6x5 but image 0 is 5x6; resize"):
        decode(*contents)


def test_a_set_without_a_single_image_is_refused() -> None:
    with pytest.raises(DataError, match="none of 2 images decodes"):
        decode(b"x", b"y")


def test_an_unreadable_file_is_no_undecodable_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png cannot be read"):
        decode(tmp_path / "gone.png")
