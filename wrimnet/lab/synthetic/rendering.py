"""One image of one person: appearance, pose, camera, scene and what occludes them."""

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np

from wrimnet.data.randomness import generator as seeded_generator
from wrimnet.lab.synthetic.appearance import (
    NUM_SLOTS,
    Appearance,
    Material,
    draw_appearance,
    palette,
)
from wrimnet.lab.synthetic.cameras import Camera, draw_camera, record, shifted
from wrimnet.lab.synthetic.canvas import Canvas, Part
from wrimnet.lab.synthetic.figure import draw_person
from wrimnet.lab.synthetic.pose import View, draw_pose
from wrimnet.lab.synthetic.scenes import Scene, draw_scene, draw_surface
from wrimnet.modality import MODALITY_NAMES

SUPERSAMPLING = 2
MAX_IMAGES_PER_ID = 10_000  # per modality: the images of identity p count from p times this
STRANGER, OBSTACLE = NUM_SLOTS, 2 * NUM_SLOTS  # first slots of another person, of an obstacle
STRANGER_SHARE = 0.08
OBSTACLE_SHARE = 0.08


@dataclass(frozen=True)
class Shot:
    """What an image shows.

    Args:
        pid: identity.
        camid: camera; it has one look per modality.
        modality: VISIBLE or INFRARED.
        number: which image of this identity and modality, below MAX_IMAGES_PER_ID.
        scene: number of the place.
        facing: True and False demand a view of the front and of the back.
    """

    pid: int
    camid: int
    modality: int
    number: int
    scene: int
    facing: bool | None = None


class Studio:
    """Renders images; equal arguments give equal bytes, in any order and in any process.

    Args:
        seed: all randomness comes from it.
        height: rows of an image.
        width: columns of an image.
        outdoor_scenes: numbers of the scenes that lie outdoors.
        camera_shift: of every camera, see :func:`wrimnet.lab.synthetic.cameras.shifted`.
    """

    def __init__(
        self,
        *,
        seed: int,
        height: int,
        width: int,
        outdoor_scenes: frozenset[int],
        camera_shift: float = 0.0,
    ) -> None:
        self.seed = seed
        self.camera_shift = camera_shift
        self.height, self.width = height, width
        self.outdoor_scenes = outdoor_scenes
        self.appearance = functools.lru_cache(maxsize=64)(self._draw_appearance)
        self.camera = functools.cache(self._draw_camera)
        self.scene = functools.cache(self._draw_scene)

    def render(self, shot: Shot) -> np.ndarray:
        """Return an image, uint8 RGB (height, width, 3)."""
        stream = f"image {MODALITY_NAMES[shot.modality]}"
        draw = seeded_generator(self.seed, stream, shot.pid * MAX_IMAGES_PER_ID + shot.number)
        camera = self.camera(shot.camid, shot.modality)
        size = SUPERSAMPLING * self.height, SUPERSAMPLING * self.width
        background = self.scene(shot.scene).cut(shot.modality, *size, draw)
        canvas, colors = Canvas(*size), np.zeros((3 * NUM_SLOTS, 3), np.uint8)
        if draw.random() < STRANGER_SHARE:
            stranger = _draw_stranger(canvas, camera, draw)
            colors[STRANGER:OBSTACLE] = palette(stranger, shot.modality)
        appearance = self.appearance(shot.pid)
        view = _draw_view(size, camera, shot.facing, draw)
        draw_person(canvas, appearance, draw_pose(draw, appearance), view)
        colors[:STRANGER] = palette(appearance, shot.modality)
        if draw.random() < OBSTACLE_SHARE:
            colors[OBSTACLE] = _draw_obstacle(canvas, draw).seen(shot.modality)
        ideal = canvas.colors(colors, background)
        small = cv2.resize(ideal, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return record(small, camera, draw)

    def _draw_appearance(self, pid: int) -> Appearance:
        return draw_appearance(seeded_generator(self.seed, "appearance", pid))

    def _draw_camera(self, camid: int, modality: int) -> Camera:
        stream = f"camera {MODALITY_NAMES[modality]}"
        camera = draw_camera(seeded_generator(self.seed, stream, camid), modality)
        return shifted(camera, self.camera_shift)

    def _draw_scene(self, number: int) -> Scene:
        draw = seeded_generator(self.seed, "scene", number)
        size = SUPERSAMPLING * self.height, SUPERSAMPLING * self.width
        return draw_scene(draw, *size, outdoor=number in self.outdoor_scenes)


def _draw_view(
    shape: tuple[int, ...],
    camera: Camera,
    facing: bool | None,
    draw: np.random.Generator,
) -> View:
    """Draw direction of walk and place in the crop; crops are as loose as a detector's."""
    yaw = camera.heading if facing is None else 0.0
    away = draw.random() < 0.5 if facing is None else not facing
    yaw += math.pi * away + float(draw.normal(0, 0.35 if facing is None else 0.25))
    return View(
        yaw=yaw,
        pitch=camera.pitch + float(draw.normal(0, 0.03)),
        roll=camera.roll + float(draw.normal(0, 0.02)),
        unit=0.9 * shape[0] * camera.zoom * float(draw.normal(1, 0.035)),
        origin=(
            shape[1] * (0.5 + float(draw.normal(0, 0.035))),
            shape[0] * (0.955 + float(draw.normal(0, 0.018))),
        ),
    )


def _draw_stranger(canvas: Canvas, camera: Camera, draw: np.random.Generator) -> Appearance:
    """Paint somebody farther away, at the side, and return who it is."""
    stranger = draw_appearance(draw)
    height, width = canvas.slots.shape
    aside = float(draw.uniform(0.38, 0.55)) * (1 if draw.random() < 0.5 else -1)
    view = View(
        yaw=float(draw.uniform(-math.pi, math.pi)),
        pitch=camera.pitch,
        roll=camera.roll,
        unit=height * float(draw.uniform(0.55, 0.8)),
        origin=(width * (0.5 + aside), height * float(draw.uniform(0.7, 0.9))),
    )
    draw_person(canvas, stranger, draw_pose(draw, stranger), view, first_slot=STRANGER)
    return stranger


def _draw_obstacle(canvas: Canvas, draw: np.random.Generator) -> Material:
    """Paint a post, a counter or an edge at the side over everything; return its material."""
    height, width = canvas.slots.shape
    kind = int(draw.integers(3))
    if kind == 0:
        left = draw.uniform(0.1, 0.8) * width
        corners: tuple[float, ...] = (left, 0, left + draw.uniform(0.06, 0.16) * width, height)
    elif kind == 1:
        corners = (0, draw.uniform(0.68, 0.9) * height, width, height)
    else:
        edge = draw.uniform(0.12, 0.3) * width
        corners = (0, 0, edge, height) if draw.random() < 0.5 else (width - edge, 0, width, height)
    left, top, right, bottom = (float(value) for value in corners)
    outline = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    axis = np.array([[left, top], [left, bottom]])
    canvas.paint(Part(1.0, outline, OBSTACLE, axis, 4.0 * width), height)
    return draw_surface(draw)
