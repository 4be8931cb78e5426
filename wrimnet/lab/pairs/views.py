"""The box of a camera's cut of a region, and the box that contains all its cuts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# A camera is drawn within the first bound, each of its images departs from it by up to the second.
SCALE = 0.12, 0.08  # of the logarithm of the side length
ASPECT = 0.08, 0.03  # of the logarithm; half of it stretches the height, half shrinks the width
SHIFT = 0.08, 0.06  # of the region's height and width
ANGLE = 0.06, 0.05  # in radians


@dataclass(frozen=True)
class Region:
    """What becomes an identity: an upright rectangle of a photograph, in pixels.

    Args:
        stem: of the photograph.
        top: first row.
        left: first column.
        height: rows.
        width: columns.
    """

    stem: str
    top: float
    left: float
    height: float
    width: float


@dataclass(frozen=True)
class RegionView:
    """Offset and size of a cut in its region.

    Args:
        scale: side length of the cut, 1.0 is the region's.
        aspect: height over width, 1.0 is the region's.
        shift: of the center, down and right, in shares of the region's height and width.
        angle: rotation in radians.
    """

    scale: float = 1.0
    aspect: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    angle: float = 0.0


def draw_camera_view(draw: np.random.Generator) -> RegionView:
    """Draw what all images of one camera have in common."""
    return _draw_around(RegionView(), draw, 0)


def draw_image_view(camera: RegionView, draw: np.random.Generator) -> RegionView:
    """Draw the view of one image of a camera."""
    return _draw_around(camera, draw, 1)


def _draw_around(view: RegionView, draw: np.random.Generator, which: int) -> RegionView:
    scale, aspect, down, right, angle = draw.uniform(-1, 1, 5).tolist()
    return RegionView(
        view.scale * math.exp(SCALE[which] * scale),
        view.aspect * math.exp(ASPECT[which] * aspect),
        (view.shift[0] + SHIFT[which] * down, view.shift[1] + SHIFT[which] * right),
        view.angle + ANGLE[which] * angle,
    )


def corners(region: Region, view: RegionView) -> np.ndarray:
    """Return the cut's corners (4, 2), (x, y) in pixels, clockwise from the top left one."""
    height = region.height * view.scale * math.sqrt(view.aspect)
    width = region.width * view.scale / math.sqrt(view.aspect)
    center = (
        region.left + region.width * (0.5 + view.shift[1]),
        region.top + region.height * (0.5 + view.shift[0]),
    )
    cosine, sine = math.cos(view.angle), math.sin(view.angle)
    upright = np.array([[-width, -height], [width, -height], [width, height], [-width, height]]) / 2
    return upright @ np.array([[cosine, sine], [-sine, cosine]]) + np.array(center)


def reach(height: float, width: float) -> tuple[float, float]:
    """Return how far above and left of a region its cuts reach at most, in pixels.

    The same holds below and to the right.
    """
    scale, aspect = math.exp(sum(SCALE)), math.exp(sum(ASPECT) / 2)
    sine = math.sin(sum(ANGLE))
    half_height, half_width = height / 2 * scale * aspect, width / 2 * scale * aspect
    return (
        half_height + half_width * sine + height * (sum(SHIFT) - 0.5),
        half_width + half_height * sine + width * (sum(SHIFT) - 0.5),
    )


def reach_box(region: Region) -> tuple[float, float, float, float]:
    """Return top, left, bottom and right of the box that holds every cut of a region, pixels."""
    above, aside = reach(region.height, region.width)
    return (
        region.top - above,
        region.left - aside,
        region.top + region.height + above,
        region.left + region.width + aside,
    )


def overlap(region: Region, others: Sequence[Region]) -> np.ndarray:
    """Return the area that a region's reach shares with each of the others' (N,).

    It is given as a share of the smaller of the two.
    """
    one = np.array(reach_box(region))
    boxes = np.array([reach_box(other) for other in others]).reshape(-1, 4)
    shared = np.minimum(one[2:], boxes[:, 2:]) - np.maximum(one[:2], boxes[:, :2])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return np.maximum(shared, 0.0).prod(1) / np.minimum(areas, (one[2:] - one[:2]).prod())
