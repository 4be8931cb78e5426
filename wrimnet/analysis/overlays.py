"""Maps laid over the images they were computed from."""

from typing import Any

import numpy as np
from PIL import Image


def enlarge_map(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Brings a map (h, w) to (height, width), each cell a sharp rectangle of its true extent."""
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.NEAREST))


def smooth_map(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Brings a map (h, w) to (height, width) by bilinear interpolation between cell centres."""
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def grey_image(image: np.ndarray) -> np.ndarray:
    """Returns an image (H, W, 3) without its colours, so that those of a map over it stand out."""
    grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def show_image(axes: Any, image: np.ndarray) -> None:
    """Draws an image (H, W, 3) uint8 without ticks and frame."""
    axes.imshow(image)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def show_overlay(axes: Any, image: np.ndarray, layer: np.ndarray, **options: Any) -> None:
    """Draws ``layer`` (H, W), half transparent, over the grey image."""
    show_image(axes, grey_image(image))
    axes.imshow(layer, alpha=0.55, **options)
