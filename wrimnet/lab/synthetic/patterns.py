"""Patterns of cloth, as functions of the place on the body.

``angle`` goes around a body part in radians, 0 at the front, in [-pi, pi); ``length`` goes down
along it in body heights; ``period`` is the repeat in body heights. Each pattern returns True where
the second material of the garment shows. The same function serves both modalities.
"""

from collections.abc import Callable

import numpy as np

# One body height of period around the trunk, in radians: its radius is about a twelfth.
RADIANS_PER_LENGTH = 12.0

Pattern = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def rings(angle: np.ndarray, length: np.ndarray, period: float) -> np.ndarray:
    """Horizontal stripes, half of the period each."""
    return _phase(length, period) < 0.5


def pinstripes(angle: np.ndarray, length: np.ndarray, period: float) -> np.ndarray:
    """Vertical stripes."""
    return _phase(angle, period * RADIANS_PER_LENGTH) < 0.4


def checks(angle: np.ndarray, length: np.ndarray, period: float) -> np.ndarray:
    """A chess board."""
    return rings(angle, length, period) ^ (_phase(angle, period * RADIANS_PER_LENGTH) < 0.5)


def dots(angle: np.ndarray, length: np.ndarray, period: float) -> np.ndarray:
    """Round spots on a square grid."""
    across = _phase(angle, period * RADIANS_PER_LENGTH) - 0.5
    down = _phase(length, period) - 0.5
    return across * across + down * down < 0.11


def emblem(angle: np.ndarray, length: np.ndarray, period: float) -> np.ndarray:
    """One print on the chest, wider with a larger period; nothing on the back."""
    height = (length - 0.13) / 0.055
    across = angle / (0.3 + 4.0 * period)
    return across * across + height * height < 1.0


def two_tone(angle: np.ndarray, length: np.ndarray, period: float) -> np.ndarray:
    """Second material from a line downwards; the line moves with the period."""
    return length > 2.0 * period


def band(angle: np.ndarray, length: np.ndarray, period: float) -> np.ndarray:
    """One wide ring."""
    return np.abs(length - 1.8 * period) < 0.035


def diagonal(angle: np.ndarray, length: np.ndarray, period: float) -> np.ndarray:
    """Stripes that wind around the part."""
    return _phase(length + 0.07 * angle, 1.3 * period) < 0.5


def panels(angle: np.ndarray, length: np.ndarray, period: float) -> np.ndarray:
    """Second material along both flanks."""
    return np.abs(np.abs(angle) - 1.57) < 0.15 + 4.0 * period


def _phase(value: np.ndarray, period: float) -> np.ndarray:
    cycles = value * (1.0 / period)
    return cycles - np.floor(cycles)


PATTERNS: dict[str, Pattern | None] = {
    "plain": None,
    "rings": rings,
    "pinstripes": pinstripes,
    "checks": checks,
    "dots": dots,
    "emblem": emblem,
    "two_tone": two_tone,
    "band": band,
    "diagonal": diagonal,
    "panels": panels,
}
