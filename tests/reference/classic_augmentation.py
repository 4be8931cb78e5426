"""The classic way: every image decoded, resized and augmented on its own with PIL and numpy.

Same steps, same order and same distributions as the batched path, written without it. It is the
measure of the batched path, in tests (`tests/data/test_augmentation.py`) and in the benchmark;
training does not use it.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from wrimnet.data.augmentation import AugmentationSettings
from wrimnet.data.images import INTERPOLATIONS, read_rgb
from wrimnet.modality import VISIBLE

Rectangle = tuple[int, int, int, int]


class ClassicAugmentation:
    """Reads and augments one image at a time.

    Args:
        settings: Distributions of the draws.
        height: H of the input size.
        width: W of the input size.
        interpolation: Name of PIL's filter for the resize to the input size.
        fill: Pixel mean per channel, 0..255.
    """

    def __init__(
        self,
        *,
        settings: AugmentationSettings,
        height: int,
        width: int,
        interpolation: str,
        fill: Sequence[float],
    ) -> None:
        self.settings, self.height, self.width = settings, height, width
        self.interpolation, self.fill = interpolation, fill

    def __call__(self, path: str, modality: int, rng: np.random.Generator) -> np.ndarray:
        """Returns one augmented image, float32 (3, H, W), 0..255."""
        image = read_rgb(path).resize((self.width, self.height), INTERPOLATIONS[self.interpolation])
        return self.augment(image, modality, rng)

    def augment(self, image: Image.Image, modality: int, rng: np.random.Generator) -> np.ndarray:
        """Augments an image of the input size, float32 (3, H, W)."""
        window = self.draw_window(rng)
        flipped = rng.random() < self.settings.flip_prob
        erased = self.draw_erasing(rng)
        gray = modality == VISIBLE and rng.random() < self.settings.grayscale_prob
        image = cut_and_resize(image, window)
        if flipped:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = np.asarray(image, dtype=np.float32)
        pixels = erase(pixels, erased, self.fill)
        if gray:
            pixels = grayscale(pixels)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def draw_window(self, rng: np.random.Generator) -> Rectangle:
        """Draws (top, left, height, width) of the crop window."""
        scale = rng.choice(self.settings.scales)
        height, width = round(self.height * scale), round(self.width * scale)
        top = rng.integers(0, self.height - height, endpoint=True)
        left = rng.integers(0, self.width - width, endpoint=True)
        return int(top), int(left), height, width

    def draw_erasing(self, rng: np.random.Generator) -> Rectangle | None:
        """Draws the erased rectangle, or None."""
        if rng.random() >= self.settings.erase_prob:
            return None
        while True:
            area = rng.uniform(*self.settings.erase_area) * self.height * self.width
            aspect = np.exp(rng.uniform(*np.log(self.settings.erase_aspect)))
            height, width = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
            if 0 < height < self.height and 0 < width < self.width:
                top = rng.integers(0, self.height - height, endpoint=True)
                left = rng.integers(0, self.width - width, endpoint=True)
                return int(top), int(left), height, width


def cut_and_resize(image: Image.Image, window: Rectangle) -> Image.Image:
    """Cuts a window out and resizes it to the image's size, bilinearly."""
    top, left, height, width = window
    part = image.crop((left, top, left + width, top + height))
    return part.resize(image.size, Image.Resampling.BILINEAR)


def erase(pixels: np.ndarray, rectangle: Rectangle | None, fill: Sequence[float]) -> np.ndarray:
    """Fills a rectangle of (H, W, 3) with one value per channel."""
    if rectangle is None:
        return pixels
    top, left, height, width = rectangle
    erased = pixels.copy()
    erased[top : top + height, left : left + width] = fill
    return erased


def grayscale(pixels: np.ndarray) -> np.ndarray:
    """Gives (H, W, 3) three equal channels, the luma of its colors."""
    luma = 0.299 * pixels[..., 0] + 0.587 * pixels[..., 1] + 0.114 * pixels[..., 2]
    return np.repeat(luma[..., None], 3, axis=2)
