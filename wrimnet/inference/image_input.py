"""The images that a caller gives, one or many, as a list of paths, PIL images and arrays."""

from collections.abc import Iterable
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

_MOST_CHANNELS = 4  # a longer last dimension is a width
_SHAPES = "(H, W), (C, H, W) or (N, C, H, W) with C 1 or 3"


class GivenImages(NamedTuple):
    """Images, and whether the caller gave a single one."""

    images: list[Any]  # paths, PIL images, arrays (H, W, 3) or (H, W)
    single: bool


def as_image_list(given: Any) -> GivenImages:
    """Lists paths, PIL images, arrays and tensors; a single one of them is a list of one.

    Arrays have their channels last: (H, W) or (H, W, 1) gray, (H, W, 3) RGB; several of one size
    are (N, H, W), (N, H, W, 1) or (N, H, W, 3). Tensors have them first: (H, W), (C, H, W),
    (N, C, H, W), C being 1 or 3, on any device; floating-point ones hold 0..1.

    Raises:
        ValueError: no image, or an array or tensor of another shape or range.
    """
    if isinstance(given, str | PathLike | Image.Image):
        return GivenImages([_one(given)], True)
    single = False
    if isinstance(given, np.ndarray | Tensor):
        array = _channels_last(given) if isinstance(given, Tensor) else given
        single = _is_one_image(array)
        given = [array] if single else array
    if not isinstance(given, Iterable):
        raise ValueError(
            f"images of type {type(given).__name__}: expected paths, PIL images, arrays or tensors"
        )
    images = [_one(image) for image in given]
    if not images:
        raise ValueError("no image to embed: the list is empty")
    return GivenImages(images, single)


def _is_one_image(array: np.ndarray) -> bool:
    """Whether an array is one image, its channels last, and not several."""
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] > _MOST_CHANNELS:
        raise ValueError(
            f"an array of shape {array.shape}: the channels of an array come last, (H, W, 3); give "
            "three gray images as a list"
        )
    return array.ndim == 2 or (array.ndim == 3 and array.shape[2] <= _MOST_CHANNELS)


def _one(image: Any) -> Any:
    if isinstance(image, PathLike):
        return str(image)
    if isinstance(image, Tensor):
        image = _channels_last(image)
    if isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 1:
        return image[:, :, 0]
    return image


def _channels_last(tensor: Tensor) -> np.ndarray:
    """Pixels of a tensor as an array (H, W), (H, W, C) or (N, H, W, C), floats as uint8."""
    if tensor.ndim not in (2, 3, 4) or (tensor.ndim > 2 and tensor.shape[-3] not in (1, 3)):
        raise ValueError(f"a tensor of shape {tuple(tensor.shape)}: expected {_SHAPES}")
    pixels = tensor.detach().cpu()
    if pixels.is_floating_point():
        pixels = _to_bytes(pixels.float())
    return (pixels.movedim(-3, -1) if pixels.ndim > 2 else pixels).numpy()


def _to_bytes(pixels: Tensor) -> Tensor:
    low, high = (float(value) for value in pixels.aminmax()) if pixels.numel() else (0.0, 0.0)
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"a tensor with values from {low:g} to {high:g}: floating-point pixels are expected in "
            "0..1; give uint8 in 0..255, or a camera's counts or degrees as an array (H, W)"
        )
    return (255 * pixels).round().to(torch.uint8)
