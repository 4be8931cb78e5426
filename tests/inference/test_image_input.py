"""The kinds of images that embed takes: what is one, what are several, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wrimnet.inference.image_input import as_image_list
from wrimnet.modality import INFRARED, VISIBLE, find_modality

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
GRAY = RNG.integers(0, 256, (6, 5), dtype=np.uint8)


def first(tensor):
    """A tensor of an array with its channels first."""
    return torch.from_numpy(tensor).movedim(-1, -3)


ONE = {
    "RGB array": (RGB, RGB),
    "gray array": (GRAY, GRAY),
    "gray array with its channel": (GRAY[:, :, None], GRAY),
    "RGB tensor": (first(RGB), RGB),
    "gray tensor": (torch.from_numpy(GRAY), GRAY),
    "gray tensor with its channel": (torch.from_numpy(GRAY)[None], GRAY),
    "tensor of 0..1": (first(RGB) / 255, RGB),
    "half tensor of 0..1": ((first(RGB) > 99).bfloat16(), 255 * (RGB > 99).astype(np.uint8)),
    "tensor with a gradient": ((first(RGB) / 255).requires_grad_(), RGB),
}


@pytest.mark.parametrize("kind", ONE)
def test_one_image_and_a_list_of_it(kind):
    given, expected = ONE[kind]
    for images, single in ((given, True), ([given], False), ((x for x in [given]), False)):
        found = as_image_list(images)
        assert found.single is single
        (image,) = found.images
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, expected)


SEVERAL = {
    "RGB array": (np.stack([RGB, RGB[::-1]]), [RGB, RGB[::-1]]),
    "gray array": (np.stack([GRAY, GRAY[::-1]]), [GRAY, GRAY[::-1]]),
    "gray array with its channel": (np.stack([GRAY, GRAY])[..., None], [GRAY, GRAY]),
    "RGB tensor": (first(np.stack([RGB, RGB[::-1]])), [RGB, RGB[::-1]]),
    "gray tensor": (torch.from_numpy(np.stack([GRAY, GRAY]))[:, None], [GRAY, GRAY]),
}


@pytest.mark.parametrize("kind", SEVERAL)
def test_several_images_in_one_array(kind):
    given, expected = SEVERAL[kind]
    found = as_image_list(given)
    assert not found.single
    assert len(found.images) == 2
    for image, array in zip(found.images, expected, strict=True):
        np.testing.assert_array_equal(image, array)


def test_paths_and_pictures_stay_as_they_are():
    picture = Image.new("RGBA", (4, 4))
    assert as_image_list(picture) == ([picture], True)
    assert as_image_list(Path("a") / "b.jpg") == (["a/b.jpg"], True)
    assert as_image_list(["a.jpg", Path("b.jpg"), picture]) == (["a.jpg", "b.jpg", picture], False)


def test_sixteen_bits_stay_as_they_are():
    counts = np.full((6, 5), 7000, np.uint16)
    (image,) = as_image_list(torch.from_numpy(counts.astype(np.int32))).images
    np.testing.assert_array_equal(image, counts)
    assert as_image_list(counts).images[0] is counts


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "the list is empty"),
        (np.zeros((0, 4, 4, 3), np.uint8), "the list is empty"),
        (3, "images of type int: expected paths, PIL images, arrays or tensors"),
        (np.zeros((3, 8, 6), np.uint8), r"\(3, 8, 6\): the channels of an array come last"),
        (torch.zeros(8, 6, 3), r"shape \(8, 6, 3\): expected \(H, W\), \(C, H, W\)"),
        (torch.zeros(5), r"a tensor of shape \(5,\)"),
        (torch.zeros(2, 4, 8, 6), r"\(2, 4, 8, 6\)"),
        (torch.full((3, 8, 6), 255.0), "values from 255 to 255: floating-point pixels are expec"),
        ([torch.full((3, 8, 6), torch.nan)], "values from nan to nan"),
    ],
)
def test_what_is_no_image_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        as_image_list(given)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_tensor_may_be_anywhere():
    (image,) = as_image_list(first(RGB).cuda()).images
    np.testing.assert_array_equal(image, RGB)


def test_modalities_have_aliases():
    assert {find_modality(name) for name in ("visible", "RGB", "vis", 0)} == {VISIBLE}
    assert {
        find_modality(name) for name in ("infrared", "ir", "NIR", "thermal", 1, np.int64(1))
    } == {INFRARED}


@pytest.mark.parametrize("modality", ["lidar", 2, None, ""])
def test_unknown_modality_is_refused(modality):
    with pytest.raises(ValueError, match=r"unknown modality .* visible \(also vis, rgb, .* or inf"):
        find_modality(modality)
