"""A canvas of material numbers and light, painted part by part from far to near.

Image coordinates are pixels, x to the right and y downwards.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np

from wrimnet.lab.synthetic.patterns import PATTERNS

FULL_LIGHT = 128  # value of ``Canvas.light`` that leaves a material as it is
SUBPIXEL_BITS = 4


class Part(NamedTuple):
    """A flat piece of a figure and what is printed on it.

    Args:
        depth: distance towards the camera in body heights; the nearest part is painted last.
        outline: polygon, (n, 2) pixels.
        slot: material number; where the pattern is True the next number is painted.
        axis: start and end of the middle line, (2, 2) pixels; the pattern's length runs along it.
        radius: half of the width across the axis in pixels.
        pattern: name in ``PATTERNS``.
        period: repeat of the pattern in body heights.
        turn: angle of the body at the middle line in radians, 0 when its front is seen.
        offset: length along the garment at the start of the axis, in body heights.
        light: brightness, 1.0 leaves the material as it is.
    """

    depth: float
    outline: np.ndarray
    slot: int
    axis: np.ndarray
    radius: float
    pattern: str = "plain"
    period: float = 0.1
    turn: float = 0.0
    offset: float = 0.0
    light: float = 1.0


class Canvas:
    """Material number and light of every pixel.

    Args:
        height: rows.
        width: columns.
    """

    def __init__(self, height: int, width: int) -> None:
        self.slots = np.zeros((height, width), np.uint8)
        self.light = np.full((height, width), FULL_LIGHT, np.uint8)

    def paint(self, part: Part, unit: float, first_slot: int = 0) -> None:
        """Paint a part; ``unit`` is a body height in pixels, ``first_slot`` shifts the material."""
        box = _bounding_box(part.outline, self.slots.shape)
        if box is None:
            return
        left, top, right, bottom = box
        inside = np.zeros((bottom - top, right - left), np.uint8)
        corners = np.rint((part.outline - (left, top)) * (1 << SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(inside, [corners], 1, shift=SUBPIXEL_BITS)
        steps = _steps_from_axis(part, box)
        across = _across(steps, part)
        here = np.s_[top:bottom, left:right], inside.view(bool)
        slot = first_slot + part.slot
        _assign(self.slots, here, slot + _second_material(part, steps, across, unit))
        _assign(self.light, here, _cylinder_light(part.light, across))

    def darken(self, outline: np.ndarray, light: float) -> None:
        """Throw a shadow, the polygon ``outline``, on what has been painted so far."""
        corners = np.rint(outline * (1 << SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(self.light, [corners], int(FULL_LIGHT * light), shift=SUBPIXEL_BITS)

    def colors(self, palette: np.ndarray, background: np.ndarray) -> np.ndarray:
        """Return uint8 (H, W, 3): the background, and in front of it every painted material.

        Args:
            palette: uint8 (slots, 3).
            background: uint8 (H, W, 3).
        """
        table = np.zeros((256, 1, 3), np.uint8)
        table[: len(palette), 0] = palette
        painted = cv2.LUT(cv2.merge([self.slots] * 3), table)
        surface = cv2.copyTo(painted, self.slots, background.copy())
        return cv2.multiply(surface, cv2.merge([self.light] * 3), scale=1.0 / FULL_LIGHT)


def _bounding_box(outline: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    (low_x, low_y), (high_x, high_y) = outline.min(0), outline.max(0)
    left, top = max(int(low_x) - 1, 0), max(int(low_y) - 1, 0)
    right, bottom = min(int(high_x) + 2, shape[1]), min(int(high_y) + 2, shape[0])
    return (left, top, right, bottom) if right > left and bottom > top else None


def _assign(target: np.ndarray, here: tuple, values: np.ndarray | int) -> None:
    box, inside = here
    np.copyto(target[box], values, where=inside, casting="unsafe")


def _steps_from_axis(part: Part, box: tuple[int, int, int, int]) -> tuple[np.ndarray, ...]:
    """Return x (1, w) and y (h, 1) from the axis' start and its direction; all float32."""
    left, top, right, bottom = box
    (x, y), (end_x, end_y) = part.axis.tolist()
    length = max(math.hypot(end_x - x, end_y - y), 1e-6)
    direction = np.array([(end_x - x) / length, (end_y - y) / length], np.float32)
    columns = np.arange(left, right, dtype=np.float32)[None] - np.float32(x)
    rows = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(y)
    return columns, rows, direction


def _across(steps: tuple[np.ndarray, ...], part: Part) -> np.ndarray:
    """Return radii to the right of the axis, in [-1, 1], (h, w)."""
    columns, rows, direction = steps
    scale = direction * np.float32(1.0 / part.radius)
    across = columns * scale[1] - rows * scale[0]
    np.minimum(across, 1.0, out=across)
    return np.maximum(across, -1.0, out=across)


def _second_material(
    part: Part, steps: tuple[np.ndarray, ...], across: np.ndarray, unit: float
) -> np.ndarray | int:
    """Return 1 where the pattern shows the second material, else 0."""
    pattern = PATTERNS[part.pattern]
    if pattern is None:
        return 0
    columns, rows, direction = steps
    scale = direction * np.float32(1.0 / unit)
    length = columns * scale[0] + rows * scale[1] + np.float32(part.offset)
    bent = across * (1.0 + 0.57 * across * across)  # arcsin without a math library's last bit
    angle = bent - np.float32(part.turn)
    angle = angle - 6.2831853 * np.floor(angle * 0.15915494 + 0.5)
    return pattern(angle, length, part.period).view(np.uint8)


def _cylinder_light(light: float, across: np.ndarray) -> np.ndarray:
    """Light falls a little from the image's left; edges of a round part are darker."""
    full = FULL_LIGHT * light
    return 1.06 * full - across * (0.1 * full + (0.32 * full) * across)
