"""JPEG data that is damaged in the middle, and that decoders return an image of all the same."""

import io

import numpy as np
from PIL import Image


def noise_jpeg(**options) -> bytes:
    """An image of noise, 96x48 pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (96, 48, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


def overwritten(content: bytes, filling: bytes = bytes(400)) -> bytes:
    """The same with other bytes in the middle."""
    middle = len(content) // 2
    return content[:middle] + filling + content[middle + len(filling) :]
