"""Any image as upright 8-bit RGB, with one rule per pixel format; and resizing.

| PIL mode | becomes RGB by |
|---|---|
| 1, L, P, RGB, CMYK, YCbCr, HSV, LAB | PIL's own conversion |
| LA, PA, RGBA | PIL's own conversion; the alpha channel is dropped, not blended |
| I;16, I;16B, I;16L, I;16N, I, F | :mod:`wrimnet.data.gray_levels`, three equal channels |
| RGB, RGBA, LA of 16 bits | equal channels as one channel of 16 bits; colors by their high byte |
| all others | an error |

The EXIF orientation is applied. Of a file with several frames, the first is read.
"""

import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, features

from wrimnet.data.gray_levels import (
    PixelRangeError,
    check_colors,
    check_finite,
    gray_levels,
)

SYNTHETIC_MARK = "synthetic.json"  # a file beside images that stand in for a dataset's own
DENIED = "this user has no permission to read it"
INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
DIRECT_MODES = frozenset({"1", "L", "RGB", "CMYK", "YCbCr", "HSV", "LAB", "LA", "RGBA"})
PALETTE_MODES = frozenset({"P", "PA"})
WIDE_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N", "F"})  # of one channel

# what may be opened, with its endings; others of PIL's formats start programs (EPS) or draw (WMF)
FORMATS = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "JPEG2000": (".jp2",),
}
OPTIONAL_FORMATS = {"AVIF": (".avif",), "HEIF": (".heic", ".heif")}
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF orientation; 1 is upright


class ImageItem(NamedTuple):
    """An image on disk with its labels.

    The first three fields stand in FastReID's order, so its own loaders can index an item. What a
    dataset attaches by name (attributes, the path of a mask, a text) reaches the loss terms as
    ``LossInputs.attached``; all training images carry the same names.
    """

    path: str  # of the file on this disk
    pid: int  # identity as the dataset numbers it; training relabels to 0..C-1 in ascending order
    camid: int  # camera as the dataset numbers it, from 1
    modality: int  # `wrimnet.modality.VISIBLE` or `INFRARED`
    relpath: str  # POSIX path inside the dataset's folder, the same on every machine
    attached: Mapping[str, Any] = {}
    lists: tuple[str, ...] = ()  # of a test image: those that a protocol may name, such as "query"


def fingerprint(items: Sequence[ImageItem]) -> str:
    """Returns 12 hex digits over names, labels and file sizes, not over the dataset's folder."""
    digest = hashlib.sha256()
    for item in items:
        size = os.path.getsize(item.path) if os.path.exists(item.path) else -1
        lists = f" {sorted(item.lists)}" if item.lists else ""
        digest.update(f"{item.relpath} {item[1:4]} {size}{lists}\n".encode())
    return digest.hexdigest()[:12]


class UnreadableImageError(ValueError):
    """A file, ``path``, that cannot be read as an RGB image, and the ``reason``."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)  # both in args, so the error survives pickling
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def read_rgb(path: str, infrared_range: Sequence[float] = ()) -> Image.Image:
    """Opens an image file and decodes it to its last pixel: upright, mode RGB, in memory.

    ``infrared_range`` is (low, high) of pixels of more than 8 bits, () for none.
    Raises UnreadableImageError: missing, damaged, no image, or of a format without a rule above.
    """
    try:
        with Image.open(path, formats=readable_formats()) as image:
            return _to_rgb(image, infrared_range)
    except Exception as problem:  # PIL's decoders raise whatever their format calls for
        raise UnreadableImageError(str(path), _reason(path, problem)) from problem


def read_wide_pixels(path: str) -> np.ndarray | None:
    """Returns the pixels (H, W) of an image file of more than 8 bits as stored, else None.

    Raises UnreadableImageError: missing, damaged, no image, NaN or infinity.
    """
    try:
        with Image.open(path, formats=readable_formats()) as image:
            wide = _wide_gray(image)
            return None if wide is None else check_finite(wide)
    except Exception as problem:  # as above
        raise UnreadableImageError(str(path), _reason(path, problem)) from problem


def as_rgb(
    image: str | PathLike | Image.Image | np.ndarray, infrared_range: Sequence[float] = ()
) -> Image.Image:
    """Returns a path, a PIL image or an array as an upright PIL image in RGB.

    Arrays are uint8 (H, W, 3) in RGB, or one channel (H, W): uint8, or wider as in files.
    Raises ValueError: an unreadable file, or a kind of image that has no rule.
    """
    if isinstance(image, str | PathLike):
        return read_rgb(str(image), infrared_range)
    if isinstance(image, Image.Image):
        return _to_rgb(image, infrared_range)
    if isinstance(image, np.ndarray):
        return _array_to_rgb(image, infrared_range)
    raise ValueError(
        f"an image of type {type(image).__name__}: expected a path, a PIL image or an array"
    )


@functools.cache
def readable_formats() -> tuple[str, ...]:
    """Returns PIL's names of the formats that can be opened here."""
    formats = [*FORMATS]
    if "avif" in features.get_supported_modules():
        formats.append("AVIF")
    try:
        from pillow_heif import register_heif_opener
    except ModuleNotFoundError:
        return tuple(formats)
    register_heif_opener()
    return (*formats, "HEIF")


def readable_endings() -> frozenset[str]:
    """Returns the file endings, in small letters, of the formats that can be opened here."""
    known = {**FORMATS, **OPTIONAL_FORMATS}
    return frozenset(ending for name in readable_formats() for ending in known[name])


def is_turned(path: str) -> bool:
    """Says whether an image file is stored in another orientation than its EXIF tag asks for."""
    with Image.open(path, formats=readable_formats()) as image:
        return _orientation(image) in _TO_UPRIGHT


def resize_rgb(image: Image.Image, height: int, width: int, interpolation: str) -> np.ndarray:
    """Resizes an RGB image with PIL's (antialiased) resampling: (height, width, 3), uint8.

    Raises ValueError: no filter is called so; there are nearest, bilinear, bicubic and lanczos.
    """
    if interpolation not in INTERPOLATIONS:
        known = ", ".join(INTERPOLATIONS)
        raise ValueError(f"interpolation {interpolation!r} is unknown; use one of {known}")
    return np.array(image.resize((width, height), INTERPOLATIONS[interpolation]))


def _to_rgb(image: Image.Image, infrared_range: Sequence[float]) -> Image.Image:
    """The only way from pixels as they are stored to RGB as they are seen."""
    wide = _wide_gray(image, infrared_range)
    rgb = _convert(image) if wide is None else _gray_to_rgb(gray_levels(wide, infrared_range))
    method = _TO_UPRIGHT.get(_orientation(image))
    return rgb if method is None else rgb.transpose(method)


def _convert(image: Image.Image) -> Image.Image:
    if image.mode in DIRECT_MODES:
        return image.convert("RGB")
    if image.mode in PALETTE_MODES:
        return image.convert("RGBA").convert("RGB")  # a palette with transparency warns otherwise
    raise ValueError(f"pixel format {image.mode!r} has no agreed conversion to 8-bit RGB")


def _gray_to_rgb(gray: np.ndarray) -> Image.Image:
    return Image.fromarray(gray).convert("RGB")


def _wide_gray(image: Image.Image, infrared_range: Sequence[float] = ()) -> np.ndarray | None:
    """Returns gray pixels (H, W) of more than 8 bits as stored; None for all other images."""
    if image.mode in WIDE_MODES:
        return np.asarray(image)
    if not any(";16" in str(tile) for tile in getattr(image, "tile", ())):
        return None
    pixels = _sixteen_bit_channels(image)
    if (pixels == pixels[..., :1]).all():
        return pixels[..., 0]
    check_colors(pixels, infrared_range)
    return None


def _sixteen_bit_channels(image: Image.Image) -> np.ndarray:
    """Returns the 16-bit channels (H, W, C) of a file, of which PIL keeps 8 bits; no alpha."""
    import cv2

    file: Any = image.fp  # type: ignore[attr-defined]  # an image file's, which PIL does not declare
    position = file.tell()
    file.seek(0)
    content = np.frombuffer(file.read(), np.uint8)
    file.seek(position)
    pixels = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise PixelRangeError("16-bit channels that cannot be read; store 8 bits, or one channel")
    return np.atleast_3d(pixels)[..., :3]


def _array_to_rgb(array: np.ndarray, infrared_range: Sequence[float]) -> Image.Image:
    if array.ndim == 2 and array.dtype.kind in "uif" and array.size:
        gray = array if array.dtype == np.uint8 else gray_levels(array, infrared_range)
        return _gray_to_rgb(gray)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(
            f"an array {array.dtype} {array.shape}: expected uint8 (H, W, 3), RGB, 0..255, or one "
            "channel (H, W)"
        )
    return Image.fromarray(array)


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged EXIF block says nothing; PIL raises many types
        return 1


def _reason(path: str, problem: Exception) -> str:
    if isinstance(problem, FileNotFoundError):
        return "the file does not exist"
    if isinstance(problem, PermissionError):
        return DENIED
    if isinstance(problem, Image.UnidentifiedImageError):
        return _unidentified(path)
    if isinstance(problem, PixelRangeError):
        return str(problem)
    return f"{type(problem).__name__}: {problem}"


def _unidentified(path: str) -> str:
    with open(path, "rb") as file:
        brand = file.read(12)[4:]
    read = f"formats that are read here: {', '.join(readable_formats())}"
    if brand.startswith(b"ftypavi"):
        return f"an AVIF image, which needs Pillow 11.3 or later; {read}"
    if brand.startswith((b"ftyphei", b"ftyphev", b"ftypmif")):
        return f"a HEIC image, which needs pip install pillow-heif; {read}"
    return f"not an image, or an empty or damaged file; {read}"
