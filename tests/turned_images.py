"""Photographs stored in any EXIF orientation."""

from pathlib import Path

import numpy as np
from PIL import Image


def lying(upright, orientation):
    """Pixels as a camera stores them that asks for `orientation`: the tag's definition, inverted.

    The EXIF standard says where the stored row 0 and column 0 are in the scene.
    """
    row_0, column_0 = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    stored = upright
    if "bottom" in (row_0, column_0):
        stored = stored[::-1]
    if "right" in (row_0, column_0):
        stored = stored[:, ::-1]
    return stored if row_0 in ("top", "bottom") else stored.swapaxes(0, 1)


def save_turned(path: Path, upright: np.ndarray, orientation: int, **options) -> None:
    """Writes an image whose pixels lie as `orientation` says, with that tag."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(lying(upright, orientation)))
    stored.save(path, exif=exif, **options)
