"""Ranked lists as a figure: query, nearest gallery images, and what the camera rule removed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wrimnet.analysis.figure_files import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RIGHT, WRONG, EXCLUDED, QUERY = "right", "wrong", "excluded", "query"
_COLOURS = {RIGHT: "#1a9641", WRONG: "#d73027", EXCLUDED: "#8a8a8a", QUERY: "#222222"}
_TILE_HEIGHT, _GAP, _CAPTION, _LEFT, _TOP, _BOTTOM = 1.3, 0.14, 0.36, 0.9, 0.62, 0.3
_LEGEND = (
    "Green frame: the query's identity. Red: another one. Grey, struck out: removed by the camera "
    "rule, with the position it would have had; not counted."
)


class ListedImage(NamedTuple):
    """One image of a ranked list: (H, W, 3) uint8, what it is, and two lines below it."""

    image: np.ndarray
    status: str
    caption: str


class RankedList(NamedTuple):
    """One query's row: why it was chosen, the query, the images ranked, those removed."""

    label: str
    query: ListedImage
    ranked: Sequence[ListedImage]
    removed: Sequence[ListedImage]


def draw_ranked_lists(title: str, lists: Sequence[RankedList]) -> "Figure":
    """Draws one row per query.

    Args:
        title: of the figure.
        lists: all images of one size.

    Raises:
        ValueError: there is no list.
        MatplotlibMissingError: matplotlib is not installed.
    """
    if not lists:
        raise ValueError("a figure of ranked lists needs at least one query")
    height, width = lists[0].query.image.shape[:2]
    step_x = max(_TILE_HEIGHT * width / height, 0.62) + _GAP
    step_y = _TILE_HEIGHT + _CAPTION
    num_ranked = max(len(row.ranked) for row in lists)
    num_removed = max(len(row.removed) for row in lists)
    columns = 1.3 + num_ranked + (num_removed + 0.3 if num_removed else 0)
    size = (max(_LEFT + columns * step_x, 8.6), _TOP + len(lists) * step_y + _BOTTOM)
    figure = new_figure(*size, title)
    for number, row in enumerate(lists):
        top = _TOP + number * step_y
        figure.text(0.08 / size[0], 1 - (top + _TILE_HEIGHT / 2) / size[1], row.label, va="center")
        places = [0.0, *np.arange(num_ranked) + 1.3, *np.arange(num_removed) + num_ranked + 1.6]
        tiles = [row.query, *_padded(row.ranked, num_ranked), *row.removed]
        for place, tile in zip(places, tiles, strict=False):
            if tile is not None:
                _draw_tile(figure, tile, _LEFT + place * step_x, top)
    figure.text(0.08 / size[0], 0.1 / size[1], _LEGEND, fontsize=8, color="#444444")
    return figure


def _padded(tiles: Sequence[ListedImage], count: int) -> list[ListedImage | None]:
    return [*tiles, *[None] * (count - len(tiles))]


def _draw_tile(figure: "Figure", tile: ListedImage, left: float, top: float) -> None:
    """Draws an image with its frame at inches from the figure's upper left corner."""
    width, height = figure.get_size_inches()
    tile_width = _TILE_HEIGHT * tile.image.shape[1] / tile.image.shape[0]
    box = (
        left / width,
        1 - (top + _TILE_HEIGHT) / height,
        tile_width / width,
        _TILE_HEIGHT / height,
    )
    axes = figure.add_axes(box)
    axes.imshow(tile.image, aspect="auto")
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(tile.caption, fontsize=7, labelpad=2)
    frame_axes(axes, _COLOURS[tile.status], 1.5 if tile.status == QUERY else 3)
    if tile.status == EXCLUDED:
        axes.plot([0, 1], [0, 1], transform=axes.transAxes, color="white", linewidth=3)
        axes.plot([0, 1], [0, 1], transform=axes.transAxes, color=_COLOURS[EXCLUDED], linewidth=1.5)


def frame_axes(axes: Any, colour: str, width: float) -> None:
    """Draws a frame of ``width`` points around an image."""
    for spine in axes.spines.values():
        spine.set(visible=True, color=colour, linewidth=width)
