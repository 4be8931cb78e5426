"""One image: a camera's cut of a region, as its sensor records it."""

import functools
import math
from collections.abc import Sequence

import cv2
import numpy as np

from wrimnet.data.randomness import generator as seeded_generator
from wrimnet.lab.pairs.responses import Response, draw_camera_response, draw_hour, respond
from wrimnet.lab.pairs.views import Region, RegionView, corners, draw_camera_view, draw_image_view
from wrimnet.lab.synthetic.rendering import MAX_IMAGES_PER_ID, Shot
from wrimnet.modality import MODALITY_NAMES

MAX_SUPERSAMPLING = 8


@functools.cache
def camera(seed: int, camid: int, modality: int) -> tuple[RegionView, Response]:
    """Return the systematic view and response of a camera; one number has two, one a modality."""
    draw = seeded_generator(seed, f"pairs camera {MODALITY_NAMES[modality]}", camid)
    return draw_camera_view(draw), draw_camera_response(modality, draw)


def view_of(seed: int, shot: Shot) -> RegionView:
    """Return the offset and size of a cut in its region, drawn for each modality anew."""
    return draw_image_view(camera(seed, shot.camid, shot.modality)[0], _draws(seed, shot, "view"))


def render(
    photograph: np.ndarray, region: Region, shot: Shot, seed: int, size: tuple[int, int]
) -> np.ndarray:
    """Make an image; equal arguments give equal bytes, in any order and in any process.

    Args:
        photograph: (H, W, 3) visible or (H, W) infrared, uint8.
        region: of the identity.
        shot: which of its images.
        seed: all randomness comes from it.
        size: height and width of the image.

    Returns:
        RGB (height, width, 3), uint8.
    """
    draw = _draws(seed, shot, "light")
    cut = cut_out(photograph, corners(region, view_of(seed, shot)), size)
    response = camera(seed, shot.camid, shot.modality)[1]
    return respond(cut, response, draw_hour(shot.modality, draw), draw)


def choose_frame(frames: Sequence[Region], shot: Shot, seed: int) -> Region:
    """Draw which box of a track an image shows; independent in the two modalities."""
    if len(frames) == 1:
        return frames[0]
    return frames[int(_draws(seed, shot, "frame").integers(len(frames)))]


def cut_out(photograph: np.ndarray, outline: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the rectangle with the corners ``outline`` (4, 2) in ``size`` rows and columns."""
    height, width = size
    rows = float(np.linalg.norm(outline[3] - outline[0]))
    fineness = min(max(math.ceil(rows / height), 1), MAX_SUPERSAMPLING)
    edges = np.array([[0, 0], [width, 0], [width, height]], np.float32) * fineness
    # the corner of a pixel lies half a pixel before its center, which is what cv2 counts from
    transform = cv2.getAffineTransform(edges - 0.5, outline[:3].astype(np.float32) - 0.5)
    large = cv2.warpAffine(
        photograph,
        transform,
        (width * fineness, height * fineness),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)


def _draws(seed: int, shot: Shot, use: str) -> np.random.Generator:
    stream = f"pairs {use} {MODALITY_NAMES[shot.modality]}"
    return seeded_generator(seed, stream, shot.pid * MAX_IMAGES_PER_ID + shot.number)
