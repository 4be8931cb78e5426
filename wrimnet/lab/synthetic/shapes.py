"""Outlines that the parts of a figure are made of, in pixels."""

import math

import numpy as np

_ARC = np.linspace(0.0, math.pi, 6)[:, None]
_ARC_COSINE, _ARC_SINE = np.cos(_ARC), np.sin(_ARC)
_CIRCLE = np.linspace(0.0, 2 * math.pi, 17)[:-1]


def vector(*coordinates: float) -> np.ndarray:
    """Return a point or a shift."""
    return np.array(coordinates)


def capsule(
    start: np.ndarray, end: np.ndarray, start_radius: float, end_radius: float
) -> np.ndarray:
    """Return the outline (12, 2) of a limb that tapers from one round end to the other."""
    along = (end - start) / max(math.dist(start, end), 1e-6)
    normal = vector(-along[1], along[0])
    arc = _ARC_COSINE * normal - _ARC_SINE * along
    return np.concatenate([start + start_radius * arc, end - end_radius * arc])


def ellipse(
    center: np.ndarray, half_width: float, half_height: float, first: int = 0, last: int = 16
) -> np.ndarray:
    """Return an ellipse, or the piece between two of its 16 points (0 right, 4 bottom, 12 top)."""
    circle = np.stack([half_width * np.cos(_CIRCLE), half_height * np.sin(_CIRCLE)], axis=1)
    return center + np.take(circle, np.arange(first, last + (last - first < 16)), 0, mode="wrap")


def ribbon(middle: np.ndarray, half_widths: np.ndarray) -> np.ndarray:
    """Return the outline of a body around a middle line.

    Args:
        middle: points from top to bottom, (n, 2).
        half_widths: pixels to either side of each, (n,).
    """
    along = (middle[-1] - middle[0]) / max(math.dist(middle[0], middle[-1]), 1e-6)
    side = np.array([along[1], -along[0]]) * half_widths[:, None]
    return np.concatenate([middle + side, (middle - side)[::-1]])
