"""Images in the forms that callers have them, brought to the network's input size."""

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from PIL import Image

from wrimnet.data.images import read_rgb, resize_rgb

PIL_MODES = ("RGB", "L")


class ImageReader:
    """Makes (H, W, 3) uint8 of a path, a PIL image or an array; may be called by several threads.

    Args:
        height: H, pixels.
        width: W, pixels.
        interpolation: PIL filter of the resize.
    """

    def __init__(self, *, height: int, width: int, interpolation: str) -> None:
        self.height = height
        self.width = width
        self.interpolation = interpolation

    def __call__(self, image: Any) -> np.ndarray:
        """Reads and resizes one image.

        Raises:
            ValueError: an unreadable file, or a kind of image that has no rule.
        """
        return resize_rgb(as_rgb(image), self.height, self.width, self.interpolation)


def as_rgb(image: str | PathLike | Image.Image | np.ndarray) -> Image.Image:
    """Returns a path, a PIL image (RGB or L) or an array (H, W, 3) uint8 as a PIL image in RGB.

    Raises:
        ValueError: see :class:`ImageReader`.
    """
    if isinstance(image, str | PathLike):
        return read_rgb(str(image))
    if isinstance(image, Image.Image):
        if image.mode not in PIL_MODES:
            raise ValueError(
                f"a PIL image of mode {image.mode!r}: expected one of {PIL_MODES}; give its path "
                "instead, or convert it"
            )
        return image.convert("RGB")
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f"an array {image.dtype} {image.shape}: expected uint8 (H, W, 3), RGB, 0..255"
            )
        return Image.fromarray(image)
    raise ValueError(
        f"an image of type {type(image).__name__}: expected a path, a PIL image or a uint8 array"
    )


def check_images(images: Any) -> Sequence[Any]:
    """Returns the images as a sequence; an array (N, H, W, 3) is one.

    Raises:
        ValueError: a single image or path instead of several, or none.
    """
    single = isinstance(images, str | PathLike | Image.Image)
    if single or (isinstance(images, np.ndarray) and images.ndim == 3):
        raise ValueError("one image was given where several are expected; write embed([image])")
    images = images if isinstance(images, np.ndarray) else list(images)
    if len(images) == 0:
        raise ValueError("no image to embed: the list is empty")
    return images
