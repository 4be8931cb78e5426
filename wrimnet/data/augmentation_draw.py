"""What the augmentation does to each sample of a batch: the random draws, as plain arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ERASING_ATTEMPTS = 32


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings:
    """Distributions of the draws; a probability of 0 and the scales (1.0,) switch a step off.

    Args:
        scales: Side lengths of the crop window relative to the image, each in (0, 1].
        flip_prob: Probability of a horizontal flip.
        erase_prob: Probability of an erased rectangle.
        erase_area: Smallest and largest erased share of the image.
        erase_aspect: Smallest and largest height / width of the rectangle.
        grayscale_prob: Probability of grayscale, for visible images only.
    """

    scales: Sequence[float]
    flip_prob: float
    erase_prob: float
    erase_area: tuple[float, float]
    erase_aspect: tuple[float, float]
    grayscale_prob: float

    def __post_init__(self) -> None:
        if not self.scales or not all(0.0 < scale <= 1.0 for scale in self.scales):
            raise ValueError(
                f"INPUT.MULTISCALE_CROP.SCALES is {tuple(self.scales)}; expected one or more "
                "values above 0 and at most 1"
            )
        for name in ("flip_prob", "erase_prob", "grayscale_prob"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a value in [0, 1]")
        for name in ("erase_area", "erase_aspect"):
            low, high = getattr(self, name)
            if not 0.0 < low <= high:
                raise ValueError(f"{name} is ({low}, {high}); expected 0 < smallest <= largest")


@dataclass(frozen=True)
class AugmentationDraw:
    """The draws of a batch. Rectangles are (top, left, height, width) in pixels.

    Args:
        windows: Crop windows, (B, 4).
        flipped: True where the window is mirrored, (B,).
        erased: Erased rectangles after crop and flip, (B, 4); height and width 0 for none.
        grayscale: True where the image becomes grayscale if it is visible, (B,).
    """

    windows: np.ndarray
    flipped: np.ndarray
    erased: np.ndarray
    grayscale: np.ndarray

    def rows(self, selected: np.ndarray) -> "AugmentationDraw":
        """Returns the draws of the selected samples."""
        return AugmentationDraw(
            self.windows[selected],
            self.flipped[selected],
            self.erased[selected],
            self.grayscale[selected],
        )


def draw_augmentation(
    rng: np.random.Generator, count: int, height: int, width: int, settings: AugmentationSettings
) -> AugmentationDraw:
    """Draws for every sample of a batch; each step has its own numbers, used or not.

    Args:
        rng: Source of the numbers.
        count: B.
        height: H of the images.
        width: W of the images.
        settings: Distributions.

    Returns:
        Draws of B samples.
    """
    windows = _draw_windows(rng, count, height, width, settings.scales)
    flipped = rng.random(count) < settings.flip_prob
    erased = _draw_erasing(rng, count, height, width, settings)
    grayscale = rng.random(count) < settings.grayscale_prob
    return AugmentationDraw(windows, flipped, erased, grayscale)


def _draw_windows(
    rng: np.random.Generator, count: int, height: int, width: int, scales: Sequence[float]
) -> np.ndarray:
    scale = np.asarray(scales)[rng.integers(len(scales), size=count)]
    heights = np.maximum(np.rint(height * scale).astype(np.int64), 1)
    widths = np.maximum(np.rint(width * scale).astype(np.int64), 1)
    tops = rng.integers(0, height - heights + 1)
    lefts = rng.integers(0, width - widths + 1)
    return np.stack([tops, lefts, heights, widths], axis=1)


def _draw_erasing(
    rng: np.random.Generator, count: int, height: int, width: int, settings: AugmentationSettings
) -> np.ndarray:
    """Draws area (uniform) and aspect (log-uniform) until the rectangle fits into the image.

    Of `ERASING_ATTEMPTS` pairs per sample the first that fits counts; where none does, nothing is
    erased (with the paper's ranges the chance of that is below 1e-9).
    """
    wanted = rng.random(count) < settings.erase_prob
    shape = (count, ERASING_ATTEMPTS)
    area = rng.uniform(*settings.erase_area, size=shape) * height * width
    aspect = np.exp(rng.uniform(*np.log(settings.erase_aspect), size=shape))
    heights = np.maximum(np.rint(np.sqrt(area * aspect)).astype(np.int64), 1)
    widths = np.maximum(np.rint(np.sqrt(area / aspect)).astype(np.int64), 1)
    fits = (heights < height) & (widths < width)
    first = (np.arange(count), fits.argmax(axis=1))
    heights, widths = heights[first], widths[first]
    place = rng.random((2, count))
    tops = np.floor(place[0] * np.maximum(height - heights + 1, 1)).astype(np.int64)
    lefts = np.floor(place[1] * np.maximum(width - widths + 1, 1)).astype(np.int64)
    rectangles = np.stack([tops, lefts, heights, widths], axis=1)
    return np.where((wanted & fits.any(axis=1))[:, None], rectangles, 0)
