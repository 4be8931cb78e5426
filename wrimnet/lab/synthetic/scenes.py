"""Backgrounds: one wide place per scene, in both modalities, that images cut their piece from."""

from dataclasses import dataclass

import cv2
import numpy as np

from wrimnet.lab.synthetic.appearance import Material, draw_material
from wrimnet.lab.synthetic.shapes import capsule, vector
from wrimnet.modality import INFRARED, VISIBLE

WIDTHS_PER_SCENE = 6
HEIGHTS_PER_SCENE = 1.25


@dataclass(frozen=True)
class Scene:
    """A place.

    Args:
        views: uint8 (h, w, 3) per modality; the infrared one has three equal channels.
    """

    views: dict[int, np.ndarray]

    def cut(
        self, modality: int, height: int, width: int, generator: np.random.Generator
    ) -> np.ndarray:
        """Return a piece (height, width, 3) from a random place, mirrored half of the time."""
        view = self.views[modality]
        top = generator.integers(view.shape[0] - height + 1)
        left = generator.integers(view.shape[1] - width + 1)
        piece = view[top : top + height, left : left + width]
        return piece[:, ::-1] if generator.random() < 0.5 else piece


def draw_scene(generator: np.random.Generator, height: int, width: int, outdoor: bool) -> Scene:
    """Draw a place for pieces of (height, width) pixels."""
    shape = int(HEIGHTS_PER_SCENE * height), WIDTHS_PER_SCENE * width
    place = _Place(shape, generator)
    horizon = int(shape[0] * generator.uniform(0.3, 0.62))
    place.box(0, 0, shape[1], horizon, draw_surface(generator))
    place.box(0, horizon, shape[1], shape[0], draw_surface(generator))
    _draw_ground(place, horizon)
    for left in range(0, shape[1], width // 2):
        draw = _draw_outdoor_object if outdoor else _draw_indoor_object
        draw(place, left, horizon, width)
    return place.finish()


class _Place:
    """Paints the same shapes in both modalities, each with its own values."""

    def __init__(self, shape: tuple[int, int], generator: np.random.Generator) -> None:
        self.generator = generator
        self.visible = np.zeros((*shape, 3), np.uint8)
        self.infrared = np.zeros(shape, np.uint8)

    def box(self, left: int, top: int, right: int, bottom: int, material: Material) -> None:
        """Fill a rectangle; right and bottom are excluded."""
        self.visible[max(top, 0) : bottom, max(left, 0) : right] = material.color
        self.infrared[max(top, 0) : bottom, max(left, 0) : right] = material.reflectance

    def line(self, start: tuple[int, int], end: tuple[int, int], material: Material) -> None:
        """Draw a line of two pixels.

        It is filled as a polygon: ``cv2.line`` gives other pixels in other versions of OpenCV.
        """
        outline = [np.rint(capsule(vector(*start), vector(*end), 1.0, 1.0)).astype(np.int32)]
        cv2.fillPoly(self.visible, outline, material.color)
        cv2.fillPoly(self.infrared, outline, material.reflectance)

    def disc(self, center: tuple[int, int], radius: int, material: Material) -> None:
        """Fill a circle."""
        cv2.circle(self.visible, center, radius, material.color, -1)
        cv2.circle(self.infrared, center, radius, material.reflectance, -1)

    def finish(self) -> Scene:
        """Add stains; the illuminator of an infrared camera leaves the place darker."""
        shape = self.infrared.shape
        grains = self.generator.integers(100, 156, (shape[0] // 24, shape[1] // 24), dtype=np.uint8)
        stains = cv2.resize(grains, shape[::-1], interpolation=cv2.INTER_LINEAR_EXACT)
        stains = stains.astype(np.uint16)
        visible = np.minimum(self.visible * stains[..., None] // 128, 255).astype(np.uint8)
        infrared = np.minimum(self.infrared * stains // 220, 255).astype(np.uint8)
        return Scene({VISIBLE: visible, INFRARED: np.repeat(infrared[..., None], 3, 2)})


def draw_surface(generator: np.random.Generator) -> Material:
    """Walls, floors and furniture are duller than clothes."""
    return draw_material(generator, vividness=0.45)


def _near(generator: np.random.Generator, material: Material, change: int) -> Material:
    """Return a material a little lighter or darker than ``material`` in either modality."""
    shift = int(generator.integers(-change, change + 1))
    red, green, blue = (int(np.clip(value + shift, 0, 255)) for value in material.color)
    gray = material.reflectance + int(generator.integers(-change, change + 1))
    return Material((red, green, blue), int(np.clip(gray, 0, 255)))


def _draw_ground(place: _Place, horizon: int) -> None:
    """Joints of a floor: rows that get wider towards the camera and slanted columns."""
    generator, (bottom, right) = place.generator, place.infrared.shape
    joint, step = draw_surface(generator), int(generator.integers(10, 40))
    y = horizon
    while generator.random() < 0.97 and y < bottom:
        place.line((0, y), (right, y), joint)
        y += step
        step = int(step * 1.4) + 1
    slant = int(generator.integers(-60, 60))
    for x in range(0, right, int(generator.integers(40, 130))):
        place.line((x, horizon), (x + slant, bottom), joint)


def _draw_indoor_object(place: _Place, left: int, horizon: int, width: int) -> None:
    """A door, a poster, a pillar or a piece of furniture."""
    generator = place.generator
    left += int(generator.integers(width // 3))
    material, size = draw_surface(generator), int(generator.integers(width // 8, width // 2))
    kind = int(generator.integers(5))
    if kind == 0:
        place.box(left, int(0.1 * horizon), left + size, horizon, material)
        place.box(left + size - 6, horizon // 2, left + size - 3, horizon // 2 + 8,
                  draw_surface(generator))  # fmt: skip
    elif kind == 1:
        top = int(generator.uniform(0.1, 0.5) * horizon)
        place.box(left, top, left + size, top + size, material)
        place.box(left + 4, top + 4, left + size - 4, top + size // 2, draw_surface(generator))
    elif kind == 2:
        place.box(left, 0, left + size // 2, horizon + size // 2, material)
    elif kind == 3:
        place.box(left, horizon - size, left + size, horizon + size // 2, material)
        place.box(left, horizon - size, left + size, horizon - size + 5, draw_surface(generator))


def _draw_outdoor_object(place: _Place, left: int, horizon: int, width: int) -> None:
    """Windows, a tree, a post or a parked car."""
    generator = place.generator
    left += int(generator.integers(width // 3))
    material, size = draw_surface(generator), int(generator.integers(width // 6, width // 2))
    kind = int(generator.integers(5))
    if kind == 0:
        for top in range(4, horizon - size // 2, size // 2 + 8):
            place.box(left, top, left + size // 3, top + size // 2, material)
    elif kind == 1:
        leaf = Material(
            (60, int(generator.integers(80, 150)), 50), int(generator.integers(150, 220))
        )
        for _ in range(30):
            x, y = generator.normal((left, 0.45 * horizon), (size / 2, size / 2))
            place.disc((int(x), int(y)), size // 6, _near(generator, leaf, 30))
        place.box(left - 4, int(0.6 * horizon), left + 4, horizon + size // 3, material)
    elif kind == 2:
        place.box(left, 0, left + 6, horizon + size, material)
    elif kind == 3:
        place.box(left, horizon - size // 2, left + 2 * size, horizon + size // 3, material)
        place.box(left + size // 3, horizon - size, left + 3 * size // 2, horizon - size // 2,
                  _near(generator, material, 60))  # fmt: skip
        for wheel in (size // 3, 5 * size // 3):
            place.disc((left + wheel, horizon + size // 3), size // 5, Material((20, 20, 22), 30))
