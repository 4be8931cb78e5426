"""Where a camera hangs and what its sensor does to an image."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from wrimnet.lab.synthetic.canvas import FULL_LIGHT
from wrimnet.modality import VISIBLE


@dataclass(frozen=True)
class Camera:
    """One camera in one modality.

    Args:
        heading: yaw at which people come towards it in radians; they also walk the other way.
        pitch: elevation in radians.
        roll: tilt in radians.
        zoom: size of people in the crop, 1.0 fills it.
        gain: brightness of the sensor.
        gamma: exponent of its curve.
        cast: gain of red, green and blue; equal in infrared.
        blur: standard deviation of the lens in output pixels at 128 rows.
        noise: standard deviation of the sensor in gray values.
        vignette: loss of light in the corners, 0..1.
    """

    heading: float
    pitch: float
    roll: float
    zoom: float
    gain: float
    gamma: float
    cast: tuple[float, float, float]
    blur: float
    noise: float
    vignette: float


def draw_camera(generator: np.random.Generator, modality: int) -> Camera:
    """Draw a camera; infrared ones are softer, noisier and lit from a single lamp."""
    visible = modality == VISIBLE
    cast = generator.uniform(0.86, 1.14, 3) if visible else np.ones(3)
    return Camera(
        heading=float(generator.uniform(-0.7, 0.7)),
        pitch=float(generator.uniform(0.03, 0.28)),
        roll=float(generator.normal(0, 0.02)),
        zoom=float(generator.uniform(0.95, 1.04)),
        gain=float(generator.uniform(0.8, 1.15)),
        gamma=float(generator.uniform(0.8, 1.15)),
        cast=(float(cast[0]), float(cast[1]), float(cast[2])),
        blur=float(generator.uniform(0.2, 0.6) if visible else generator.uniform(0.25, 0.6)),
        noise=float(generator.uniform(1.0, 4.0) if visible else generator.uniform(2.0, 5.0)),
        vignette=float(generator.uniform(0.0, 0.25) if visible else generator.uniform(0.15, 0.5)),
    )


def shifted(camera: Camera, shift: float) -> Camera:
    """Return the camera with responses further from 1, more noise and more blur; 0 for no change.

    Gain, gamma and cast are raised to the power 1 + shift, noise and blur multiplied by 1 + shift.
    """
    power = 1 + shift
    red, green, blue = camera.cast
    return replace(
        camera,
        gain=camera.gain**power,
        gamma=camera.gamma**power,
        cast=(red**power, green**power, blue**power),
        blur=camera.blur * power,
        noise=camera.noise * power,
    )


def record(image: np.ndarray, camera: Camera, generator: np.random.Generator) -> np.ndarray:
    """Return what the sensor makes of an ideal image, both uint8 (H, W, 3)."""
    sigma = camera.blur * image.shape[0] / 128 * generator.uniform(0.6, 1.6, 2)
    soft = cv2.GaussianBlur(image, (0, 0), sigmaX=float(sigma[0]), sigmaY=float(sigma[1]))
    seen = _apply_curve(soft, camera, float(generator.uniform(0.85, 1.15)))
    lamp = _lamp(image.shape, camera.vignette, generator)
    lit = cv2.multiply(seen, cv2.merge([lamp] * 3), scale=1.0 / FULL_LIGHT)
    return cv2.add(lit, _grain(image.shape, camera, generator), dtype=cv2.CV_8U)


def _apply_curve(image: np.ndarray, camera: Camera, exposure: float) -> np.ndarray:
    """Return uint8 values after gain, gamma and color cast."""
    level = np.arange(256)[:, None] / 255 * camera.gain * exposure * np.array(camera.cast)
    curve = np.minimum(np.rint(255 * level**camera.gamma), 255).astype(np.uint8)
    return cv2.LUT(image, curve[:, None])


def _lamp(shape: tuple[int, ...], vignette: float, generator: np.random.Generator) -> np.ndarray:
    """Return uint8 (H, W) light, FULL_LIGHT at most, around a random brightest point."""
    center_y, center_x = generator.uniform(0.25, 0.75, 2)
    y = (np.arange(shape[0])[:, None] / shape[0] - center_y) ** 2
    x = (np.arange(shape[1])[None] / shape[1] - center_x) ** 2
    return (FULL_LIGHT * (1 - vignette * np.minimum(1.6 * (x + y), 1))).astype(np.uint8)


def _grain(shape: tuple[int, ...], camera: Camera, generator: np.random.Generator) -> np.ndarray:
    """Return int16 noise (H, W, 3), equal in the three channels of a camera without color."""
    gray = len(set(camera.cast)) == 1
    noise = generator.standard_normal((*shape[:2], 1 if gray else 3), dtype=np.float32)
    grain = np.rint(noise * np.float32(camera.noise)).astype(np.int16)
    return cv2.merge([grain] * 3) if gray else grain
