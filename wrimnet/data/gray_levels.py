"""Pixels of more than 8 bits, counts or temperatures of an infrared camera, as gray levels.

A thermal camera uses a small part of 16 bits: 14-bit counts (7000 to 8500), centikelvin (28800 to
31300), or degrees as floats. INPUT.INFRARED_RANGE says which part becomes the 256 gray levels.
"""

from collections.abc import Sequence

import numpy as np

LEAST_LEVELS = 64  # that 16-bit pixels must keep without INPUT.INFRARED_RANGE
KEY = "INPUT.INFRARED_RANGE"
_ADVICE = f"set {KEY} to (low, high), or to auto, which training measures; or --infrared-range"


class PixelRangeError(ValueError):
    """Pixels of more than 8 bits that have no usable range."""


def gray_levels(values: np.ndarray, infrared_range: Sequence[float] = ()) -> np.ndarray:
    """Returns integer or float pixels (H, W) as gray levels, uint8 (H, W).

    With a range (low, high), low becomes 0, high 255, linearly, and what is outside is clipped.
    Without one, 16-bit integers are divided by 256.

    Raises PixelRangeError: no pixel is inside the range; NaN or infinity; or, without a range,
    floats, integers beyond 16 bits, or fewer than LEAST_LEVELS levels left of more values.
    """
    low, high = check_finite(values).min(), values.max()
    span = f"pixels span {low:g}..{high:g}"
    if infrared_range:
        start, end = infrared_range
        if high <= start or low >= end:
            raise PixelRangeError(
                f"{span}, none is inside {KEY} ({start:g}, {end:g}); set it to the camera's"
            )
        stretched = (values.astype(np.float64) - start) * (255 / (end - start))
        return np.rint(np.clip(stretched, 0, 255)).astype(np.uint8)
    if values.dtype.kind == "f":
        raise PixelRangeError(f"float {span}; {_ADVICE}")
    if low < 0 or high > 65535:
        raise PixelRangeError(f"{span}, expected 16-bit values 0..65535; {_ADVICE}")
    gray = (values // 256).astype(np.uint8)
    left = count_levels(gray)
    if left < LEAST_LEVELS and left < len(np.unique(values)):
        raise PixelRangeError(f"16-bit {span}: {left} of 256 gray levels are left; {_ADVICE}")
    return gray


def check_colors(pixels: np.ndarray, infrared_range: Sequence[float]) -> None:
    """Refuses 16-bit colors (H, W, C) that 8 bits or INPUT.INFRARED_RANGE cannot represent."""
    left = count_levels((pixels // 256).astype(np.uint8))
    if infrared_range or left < min(LEAST_LEVELS, len(np.unique(pixels))):
        raise PixelRangeError(
            f"16-bit color image, pixels span {pixels.min()}..{pixels.max()}: 8 bits keep {left} "
            f"of 256 levels, and {KEY} is for gray images. Store an infrared image with one "
            "channel, a visible one with 8 bits"
        )


def check_finite(values: np.ndarray) -> np.ndarray:
    """Returns pixels; raises PixelRangeError for NaN or infinity among them."""
    if not np.isfinite(values).all():
        raise PixelRangeError("pixels are NaN or infinite; expected finite values")
    return values


def count_levels(gray: np.ndarray) -> int:
    """Counts the different values of uint8 pixels."""
    return int(np.count_nonzero(np.bincount(gray.ravel(), minlength=256)))
