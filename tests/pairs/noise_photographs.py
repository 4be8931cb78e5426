"""Pairs of "photographs" whose two modalities share their edges and little else."""

import cv2
import numpy as np
from PIL import Image

SHAPE = 150, 210


def texture(seed, shape=SHAPE):
    """Smooth blobs with edges, values around 128, float (H, W)."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4.0)
    return 128 + 70 * np.tanh(2.5 * smooth / smooth.std())


def as_visible(values):
    """Color (H, W, 3): each channel sees the blobs a little differently."""
    return np.stack([0.9 * values + 10, values, 1.1 * values - 12], -1).clip(0, 255).astype("uint8")


def as_infrared(values):
    """Gray (H, W): what was bright is dark."""
    return (255 - values).clip(0, 255).astype("uint8")


def write_pair(folder, stem, visible, infrared, suffixes=(".png", ".png")):
    sides = {"visible": (visible, suffixes[0]), "infrared": (infrared, suffixes[1])}
    for name, (pixels, suffix) in sides.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name / f"{stem}{suffix}")


def write_scene(folder, stem, seed, suffixes=(".png", ".png")):
    values = texture(seed)
    write_pair(folder, stem, as_visible(values), as_infrared(values), suffixes)


def write_scenes(folder, count=8):
    """Scenes ``s0`` ... with different extensions, no two alike."""
    for number in range(count):
        write_scene(folder, f"s{number}", number, (".png", ".bmp") if number % 2 else (".png",) * 2)


def write_boxes(folder, stem, *lines):
    folder.mkdir(exist_ok=True)
    (folder / f"{stem}.txt").write_text("".join(f"{line}\n" for line in lines))
