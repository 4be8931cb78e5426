"""Reading an image file as RGB and resizing it, with one rule per pixel format.

| PIL mode | becomes RGB by |
|---|---|
| 1, L, P, RGB, CMYK, YCbCr, HSV, LAB | PIL's own conversion |
| LA, PA, RGBA | PIL's own conversion; the alpha channel is dropped, not blended |
| I;16, I;16B, I;16L, I;16N | value // 256, the same in the three channels (thermal data) |
| I (32 bit) | the 16-bit rule; a value outside 0..65535 is an error |
| F and all others | an error: a float image has no agreed range |

The EXIF orientation tag is not applied: the benchmarks' crops are stored upright and the published
numbers were made without it. Of a file with several frames, the first is read.
"""

import hashlib
import os
from collections.abc import Sequence
from os import PathLike
from typing import NamedTuple

import numpy as np
from PIL import Image

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
DIRECT_MODES = frozenset({"1", "L", "RGB", "CMYK", "YCbCr", "HSV", "LAB", "LA", "RGBA"})
PALETTE_MODES = frozenset({"P", "PA"})
PIL_MODES = ("RGB", "L")  # of images in memory
INTEGER_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})


# what may be opened; others of PIL's formats start programs (EPS) or draw (WMF)
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "JPEG2000")


class ImageItem(NamedTuple):
    """An image on disk with its labels.

    The first three fields stand in FastReID's order, so its own loaders can index an item.
    """

    path: str  # where the file lies on this disk
    pid: int  # identity as the dataset numbers it; training relabels to 0..C-1 in ascending order
    camid: int  # camera as the dataset numbers it, from 1
    modality: int  # `wrimnet.modality.VISIBLE` or `INFRARED`
    relpath: str  # POSIX path inside the dataset's folder, the same on every machine


def fingerprint(items: Sequence[ImageItem]) -> str:
    """Returns 12 hex digits over names, labels and file sizes, wherever the dataset lies."""
    digest = hashlib.sha256()
    for item in items:
        size = os.path.getsize(item.path) if os.path.exists(item.path) else -1
        digest.update(f"{item.relpath} {item[1:4]} {size}\n".encode())
    return digest.hexdigest()[:12]


class UnreadableImageError(ValueError):
    """A file, ``path``, that cannot be read as an RGB image, and the ``reason``."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)  # both in args, so the error survives pickling
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def read_rgb(path: str) -> Image.Image:
    """Opens an image file and decodes it to its last pixel: a PIL image, mode RGB, in memory.

    Raises UnreadableImageError: missing, damaged, no image, or of a format without a rule above.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            image.load()
            return _to_rgb(image)
    except Exception as problem:  # PIL's decoders raise whatever their format calls for
        raise UnreadableImageError(str(path), _reason(path, problem)) from problem


def as_rgb(image: str | PathLike | Image.Image | np.ndarray) -> Image.Image:
    """Returns a path, a PIL image (RGB or L) or an array (H, W, 3) uint8 as a PIL image in RGB.

    Raises ValueError: an unreadable file, or a kind of image that has no rule.
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


def resize_rgb(image: Image.Image, height: int, width: int, interpolation: str) -> np.ndarray:
    """Resizes an RGB image with PIL's (antialiased) resampling: (height, width, 3), uint8.

    Raises ValueError: no filter is called so; there are nearest, bilinear, bicubic and lanczos.
    """
    if interpolation not in INTERPOLATIONS:
        known = ", ".join(INTERPOLATIONS)
        raise ValueError(f"interpolation {interpolation!r} is unknown; use one of {known}")
    return np.array(image.resize((width, height), INTERPOLATIONS[interpolation]))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in DIRECT_MODES:
        return image.convert("RGB")
    if image.mode in PALETTE_MODES:
        return image.convert("RGBA").convert("RGB")  # a palette with transparency warns otherwise
    if image.mode in INTEGER_MODES:
        return _from_16_bit(np.asarray(image).astype(np.int64))
    raise ValueError(f"pixel format {image.mode!r} has no agreed conversion to 8-bit RGB")


def _from_16_bit(values: np.ndarray) -> Image.Image:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ValueError(f"integer pixels span {low}..{high}, expected 16-bit values 0..65535")
    return Image.fromarray((values // 256).astype(np.uint8)).convert("RGB")


def _reason(path: str, problem: Exception) -> str:
    if isinstance(problem, FileNotFoundError):
        return "the file does not exist"
    if isinstance(problem, Image.UnidentifiedImageError):
        return "not an image, or an empty or damaged file"
    return f"{type(problem).__name__}: {problem}"
