"""Frames of thermal cameras: 14-bit counts, centikelvin, degrees as floats, with 8-bit twins."""

from pathlib import Path

import numpy as np
from PIL import Image

CAMERAS = {  # dtype, lowest and highest value of the scenes
    "counts": (np.uint16, 7000, 8500),
    "centikelvin": (np.uint16, 28800, 31300),
    "degrees": (np.float32, 14.5, 39.5),
}


def thermal_frame(number: int, camera: str, shape: tuple[int, int] = (96, 48)) -> np.ndarray:
    """A scene of warm ellipses before a slope, over the camera's whole range, its dtype."""
    dtype, low, high = CAMERAS[camera]
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]] / np.array(shape)[:, None, None]
    scene = 0.3 * rows
    for _ in range(6):
        top, left, height, width, heat = rng.uniform((0, 0, 0.1, 0.1, 0.2), (1, 1, 0.4, 0.4, 1))
        scene = scene + heat * np.exp(
            -(((rows - top) / height) ** 2 + ((columns - left) / width) ** 2)
        )
    scene = (scene - scene.min()) / np.ptp(scene)
    values = low + scene * (high - low)
    return values.astype(dtype) if dtype == np.float32 else np.rint(values).astype(dtype)


def eight_bit_twin(frame: np.ndarray, camera: str) -> np.ndarray:
    """What another program makes of a frame: uint8 (H, W) over the camera's range."""
    _, low, high = CAMERAS[camera]
    return np.rint((frame.astype(np.float64) - low) / (high - low) * 255).astype(np.uint8)


def save_frame(path: Path, frame: np.ndarray) -> None:
    """Writes a PNG of 16 bits, or a TIFF of floats, under any name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(frame).save(path, format="TIFF" if frame.dtype == np.float32 else "PNG")


def make_thermal_tree(folder: Path, camera: str) -> None:
    """Replaces the infrared images of a tree in LLCM's layout by frames."""
    paths = sorted([*folder.glob("nir/**/*.jpg"), *folder.glob("test_nir/**/*.jpg")])
    for number, path in enumerate(paths):
        save_frame(path, thermal_frame(number, camera, (32, 16)))
