"""Rows of small pictures with words below each, as a page shows them: ranked lists and maps."""

import base64
import io
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from wrimnet.visualization.drawing import gray_image
from wrimnet.visualization.ranked_lists import (
    EXCLUDED,
    QUERY,
    RIGHT,
    WRONG,
    RankedList,
    Tile,
    read_tile,
)

TILE_SIZE = 96, 200  # largest width and height of a picture, pixels
_OPACITY = 0.55  # of a map over its picture
_BLUE_TO_RED = np.array([(33, 102, 172), (247, 247, 247), (178, 24, 43)], np.float32)
_SIGNS = {RIGHT: "✓", WRONG: "✗"}


class SheetTile(NamedTuple):
    """A picture: its file in a data URL, words for who cannot see it, lines below it, its frame."""

    image: str
    alt: str
    lines: Sequence[str]
    status: str = ""


class SheetRow(NamedTuple):
    """Pictures in a row and the words in front of them."""

    label: str
    tiles: Sequence[SheetTile]


class ColorScale(NamedTuple):
    """What the colors of a map mean, as a CSS gradient from ``low`` to ``high``."""

    name: str
    low: str
    high: str
    gradient: str


class Sheet(NamedTuple):
    """Rows of pictures; the legend explains their frames, the scales their colors."""

    rows: Sequence[SheetRow]
    scales: Sequence[ColorScale] = ()
    legend: Sequence[tuple[str, str]] = ()  # status and its meaning


def picture_url(image: Image.Image | np.ndarray, size: tuple[int, int] = TILE_SIZE) -> str:
    """Writes a picture as a data URL, made smaller where it exceeds ``size``."""
    picture = image.copy() if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.thumbnail(size)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def ranked_sheet(lists: Sequence[RankedList], infrared_range: Sequence[float] = ()) -> Sheet:
    """Shows ranked lists, one row per query; see :func:`draw_ranked_lists` for the range."""
    rows = [
        SheetRow(
            row.label.replace("\n", ", "),
            [_tile(tile, infrared_range) for tile in (row.query, *row.ranked, *row.removed)],
        )
        for row in lists
    ]
    return Sheet(rows, legend=RANKED_LEGEND)


RANKED_LEGEND = (
    (RIGHT, "✓ the query's identity"),
    (WRONG, "✗ another identity"),
    (EXCLUDED, "struck out: removed by the camera rule, not counted"),
)


def _tile(tile: Tile, infrared_range: Sequence[float]) -> SheetTile:
    lines = tile.caption.split("\n")
    if sign := _SIGNS.get(tile.status, ""):
        lines[0] = f"{lines[0]} {sign}"
    alt = f"{'' if tile.status == QUERY else tile.status} {lines[0]}".strip()
    return SheetTile(picture_url(read_tile(tile, infrared_range)), alt, lines, tile.status)


Palette = Callable[[np.ndarray], np.ndarray]


def viridis(shares: np.ndarray) -> np.ndarray:
    """Returns the colors (..., 3) uint8 of shares in 0..1, from dark blue to yellow."""
    levels = np.rint(255 * shares).astype(np.uint8)
    colors = cv2.applyColorMap(levels.reshape(-1, 1), cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]
    return colors.reshape(*shares.shape, 3)


def blue_to_red(shares: np.ndarray) -> np.ndarray:
    """Returns the colors (..., 3) uint8 of shares in 0..1, from blue over white to red."""
    channels = [np.interp(shares, (0, 0.5, 1), _BLUE_TO_RED[:, c]) for c in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def overlay_map(
    image: np.ndarray, layer: np.ndarray, palette: Palette, low: float, high: float
) -> np.ndarray:
    """Lays a map (H, W) with values in low..high over the gray image (H, W, 3) uint8."""
    colors = palette(np.clip((layer - low) / (high - low), 0, 1))
    return np.rint(_OPACITY * colors + (1 - _OPACITY) * gray_image(image)).astype(np.uint8)


def color_scale(name: str, palette: Palette, low: str, high: str) -> ColorScale:
    """Describes a palette as CSS draws it."""
    stops = [f"rgb({','.join(map(str, color))})" for color in palette(np.linspace(0, 1, 9))]
    return ColorScale(name, low, high, f"linear-gradient(90deg,{','.join(stops)})")
