"""Places of a photograph: windows with texture in both modalities, far apart from one another."""

from collections.abc import Iterator

import cv2
import numpy as np

from wrimnet.lab.pairs.views import Region, overlap, reach

SIZES = (1.0, 1.25, 1.6)  # heights of windows, in least heights
LEAST_GRADIENT = 3.0  # gray levels per pixel, mean over the window; sky and fog have less
QUANTILE = 0.5  # of the windows of the same photograph, to be exceeded in both modalities
# Correlation of the two gradients over the window: below, an eye finds nothing common in the two.
LEAST_AGREEMENT = 0.3
SMOOTH = 1.0, 1.5  # standard deviations of the blur of brightness and of gradient, pixels
FLAT = 1e-6  # product of variances of a window without any texture
MAX_OVERLAP = 0.15  # of the reach of two windows, as a share of the smaller one's


def find_places(
    stem: str, visible: np.ndarray, infrared: np.ndarray, min_size: int, aspect: float
) -> list[Region]:
    """Find the windows that stand for identities, the most textured first.

    A window's texture in a modality is its mean gradient. It must exceed, in both, LEAST_GRADIENT
    and the QUANTILE of all windows of the photograph, and the two gradients must lie at the same
    spots: their correlation over the window must reach LEAST_AGREEMENT. The windows come in the
    order of that correlation times the smaller texture in units of its bound; one that overlaps an
    earlier one by more than MAX_OVERLAP is left out. All cuts lie inside the photograph.

    Args:
        stem: of the photograph.
        visible: brightness (H, W), uint8.
        infrared: (H, W), uint8.
        min_size: height of the smallest windows, pixels.
        aspect: height over width of a window.
    """
    windows = np.array(list(_candidates(visible.shape, min_size, aspect)), np.int64)
    if not len(windows):
        return []
    gradients = _gradient(visible), _gradient(infrared)
    textures = np.stack([_mean_over(windows, gradient) for gradient in gradients])
    agreement = _correlation(windows, *gradients)
    quantiles = np.quantile(textures, QUANTILE, axis=1, keepdims=True)
    excess = (textures / np.maximum(quantiles, LEAST_GRADIENT)).min(axis=0)
    fit = (excess > 1) & (agreement >= LEAST_AGREEMENT)
    order = np.argsort(-excess * agreement, kind="stable")
    return _far_apart([Region(stem, *windows[i].tolist()) for i in order[fit[order]]])


def _candidates(
    shape: tuple[int, ...], min_size: int, aspect: float
) -> Iterator[tuple[int, int, int, int]]:
    """Yield top, left, height, width on a grid of a quarter of the width."""
    for size in SIZES:
        height, width = round(min_size * size), round(min_size * size / aspect)
        above, aside = (int(np.ceil(pixels)) for pixels in reach(height, width))
        step = max(width // 4, 1)
        for top in range(above, shape[0] - height - above + 1, step):
            for left in range(aside, shape[1] - width - aside + 1, step):
                yield top, left, height, width


def _gradient(image: np.ndarray) -> np.ndarray:
    """Return the length of the gradient (H, W), gray levels per pixel."""
    down, right = np.gradient(cv2.GaussianBlur(image.astype(np.float64), (0, 0), SMOOTH[0]))
    return cv2.GaussianBlur(np.hypot(down, right), (0, 0), SMOOTH[1])


def _mean_over(windows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the mean (N,) of values (H, W) over windows (N, 4)."""
    total = cv2.integral(values, sdepth=cv2.CV_64F)
    top, left, height, width = windows.T
    bottom, end = top + height, left + width
    inside = total[bottom, end] - total[top, end] - total[bottom, left] + total[top, left]
    return inside / (height * width)


def _correlation(windows: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation (N,) of two maps (H, W) over windows (N, 4)."""
    means = [_mean_over(windows, values) for values in (one, other)]
    moments = [_mean_over(windows, values) for values in (one * other, one**2, other**2)]
    shared = moments[0] - means[0] * means[1]
    squares = (moments[1] - means[0] ** 2) * (moments[2] - means[1] ** 2)
    return shared / np.sqrt(np.maximum(squares, FLAT))


def _far_apart(regions: list[Region]) -> list[Region]:
    kept: list[Region] = []
    while regions:
        first, *others = regions
        kept.append(first)
        apart = overlap(first, others) <= MAX_OVERLAP
        regions = [region for region, is_apart in zip(others, apart, strict=True) if is_apart]
    return kept
