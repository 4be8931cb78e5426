"""Pairs of aligned photographs: which files belong together, and their pixels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from wrimnet.data.datasets.layout import SHOWN
from wrimnet.data.images import read_rgb, readable_endings


@dataclass(frozen=True)
class Pair:
    """One scene photographed in both modalities, pixel on pixel.

    Args:
        stem: name of both files without extension.
        visible: color photograph.
        infrared: infrared photograph.
    """

    stem: str
    visible: Path
    infrared: Path


def list_pairs(visible: Path, infrared: Path) -> list[Pair]:
    """List the pairs of two folders by stem; files without an image extension are ignored.

    Raises:
        FileNotFoundError: a folder is not there, or a photograph has no partner.
        ValueError: two files of one stem, one folder for both, or no image in one of them.
    """
    if visible.resolve() == infrared.resolve():
        raise ValueError(f"--visible and --infrared are one folder, {visible}; give one of each")
    sides = _images_by_stem(visible), _images_by_stem(infrared)
    for folder, images in zip((visible, infrared), sides, strict=True):
        if not images:
            known = " ".join(sorted(readable_endings()))
            raise ValueError(f"no pair: {folder} holds no image ({known})")
    missing = [
        f"{path} has no partner in {other}"
        for mine, theirs, other in ((*sides, infrared), (*sides[::-1], visible))
        for stem, path in mine.items()
        if stem not in theirs
    ]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} photographs lack their partner: {shortened(missing)}; add the files "
            "of the same stem, or move those without a partner away"
        )
    return [Pair(stem, path, sides[1][stem]) for stem, path in sides[0].items()]


def shortened(texts: Iterable[object]) -> str:
    """Return the first few texts, and dots for the others."""
    listed = [str(text) for text in texts]
    return "; ".join(listed[:SHOWN]) + ("; ..." if len(listed) > SHOWN else "")


def _images_by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"looked for the folder {folder}, which does not exist")
    image_of_stem: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in readable_endings() or not path.is_file():
            continue
        if path.stem in image_of_stem:
            raise ValueError(
                f"{image_of_stem[path.stem]} and {path} have the same stem; "
                "keep the one that has a partner"
            )
        image_of_stem[path.stem] = path
    return image_of_stem


def read_pair(pair: Pair, infrared_range: Sequence[float] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Read both photographs, upright.

    Args:
        pair: the files.
        infrared_range: (low, high) of infrared pixels of more than 8 bits; () for none.

    Returns:
        Color (H, W, 3) and infrared (H, W), uint8; infrared of several channels becomes gray.

    Raises:
        UnreadableImageError: a file cannot be read.
        ValueError: the two have different sizes, so they are not aligned, or are exchanged.
    """
    visible, infrared = read_rgb(str(pair.visible)), read_rgb(str(pair.infrared), infrared_range)
    if visible.size != infrared.size:
        raise ValueError(
            f"{pair.visible} is {visible.width}x{visible.height} and {pair.infrared} "
            f"{infrared.width}x{infrared.height}; aligned pairs have one size: bring both to the "
            "same grid first"
        )
    pixels = np.asarray(visible), np.asarray(infrared)
    if not has_colors(pixels[0]) and has_colors(pixels[1]):
        raise ValueError(
            f"{pair.infrared} has colors and {pair.visible} has none; --visible and --infrared "
            "seem to be exchanged"
        )
    return pixels[0], gray(pixels[1])


def has_colors(image: np.ndarray) -> bool:
    """Say whether the channels of an RGB image (H, W, 3) differ anywhere."""
    return bool((image != image[..., :1]).any())


def gray(color: np.ndarray) -> np.ndarray:
    """Return the brightness (H, W) of an RGB image (H, W, 3), uint8."""
    return cv2.cvtColor(color, cv2.COLOR_RGB2GRAY)
