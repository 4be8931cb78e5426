"""What a camera's sensor and the hour make of an image: brightness, contrast, color, grain."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from wrimnet.modality import VISIBLE

MIDDLE = 128.0  # gray level about which contrast turns
REFERENCE_ROWS = 128  # of the image to which blur is referred


@dataclass(frozen=True)
class Response:
    """A sensor's response, the same for all images of a camera, or one hour's light.

    Args:
        gain: factor of all values.
        contrast: factor about the middle gray.
        level: gray levels that are added.
        gamma: exponent of the curve.
        cast: factors of red, green and blue; equal in infrared.
        blur: standard deviation in pixels of an image of 128 rows.
        noise: standard deviation in gray levels.
    """

    gain: float
    contrast: float
    level: float
    gamma: float
    cast: tuple[float, float, float]
    blur: float
    noise: float


def draw_camera_response(modality: int, draw: np.random.Generator) -> Response:
    """Draw the response of a camera: color and exposure, or a thermal sensor's gain and level."""
    visible = modality == VISIBLE
    cast = draw.uniform(0.94, 1.06, 3).tolist()
    return Response(
        gain=_factor(draw, 0.12 if visible else 0.0),
        contrast=_factor(draw, 0.15 if visible else 0.25),
        level=float(draw.uniform(-20, 20)) * (not visible),
        gamma=_factor(draw, 0.2 if visible else 0.1),
        cast=(cast[0], cast[1], cast[2]) if visible else (1.0, 1.0, 1.0),
        blur=float(draw.uniform(0.2, 0.6)),
        noise=float(draw.uniform(1.0, 4.0)),
    )


def draw_hour(modality: int, draw: np.random.Generator) -> Response:
    """Draw the light of an hour: its strength, haze and warmth, or how warm everything is."""
    visible = modality == VISIBLE
    warmth = float(draw.uniform(-0.06, 0.06)) * visible
    return Response(
        gain=_factor(draw, 0.2 if visible else 0.0),
        contrast=_factor(draw, 0.15 if visible else 0.2),
        level=float(draw.uniform(-15, 15)) * (not visible),
        gamma=1.0,
        cast=(1 + warmth, 1.0, 1 - warmth),
        blur=0.0,
        noise=0.0,
    )


def _factor(draw: np.random.Generator, bound: float) -> float:
    return math.exp(float(draw.uniform(-bound, bound)))


def respond(
    image: np.ndarray, camera: Response, hour: Response, draw: np.random.Generator
) -> np.ndarray:
    """Return what the camera records at that hour.

    Args:
        image: (H, W, 3) or (H, W), uint8.
        camera: of the image's modality.
        hour: likewise.
        draw: source of the grain.

    Returns:
        (H, W, 3), uint8, the channels of an infrared image equal.
    """
    values: np.ndarray = image.astype(np.float32)
    for light in (hour, camera):
        values = (values - MIDDLE) * light.contrast + MIDDLE
        values = np.clip(values * light.gain + light.level, 0, 255)
        values = 255 * (values / 255) ** np.float32(light.gamma)
        if image.ndim == 3:
            values = values * np.array(light.cast, np.float32)
    values = cv2.GaussianBlur(
        values, (0, 0), max(camera.blur * image.shape[0] / REFERENCE_ROWS, 0.1)
    )
    values = values + np.float32(camera.noise) * draw.standard_normal(image.shape, dtype=np.float32)
    recorded = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return recorded if image.ndim == 3 else cv2.merge([recorded] * 3)
