"""MIIM's gates over the images, per Block and modality."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wrimnet.analysis.figure_files import add_axes, new_figure
from wrimnet.analysis.overlays import enlarge_map, show_overlay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TILE_HEIGHT = 1.45


class GatedImage(NamedTuple):
    """An image (H, W, 3) uint8, its label, and per Block the gate (h, w), mean over channels."""

    image: np.ndarray
    label: str
    gates: Mapping[int, np.ndarray]


def draw_gate_maps(
    title: str, rows: Sequence[GatedImage], placement: Mapping[int, str]
) -> "Figure":
    """Draws one row per image, one column per Block; each Block has a scale of its own.

    Args:
        title: of the figure.
        rows: images with their gates, every one with the same Blocks.
        placement: of each Block, "separate" or "shared".

    Raises:
        ValueError: no image, or a network without a MIIM.
    """
    blocks = sorted(placement)
    if not rows or not blocks:
        raise ValueError("gate maps need at least one image and a network with at least one MIIM")
    height, width = rows[0].image.shape[:2]
    tile_width = _TILE_HEIGHT * width / height
    size = (max(1.6 + (len(blocks) + 1) * (tile_width + 0.55), 7.4), 1.5 + len(rows) * _TILE_HEIGHT)
    figure = new_figure(*size, title, layout="constrained")
    grid = add_axes(figure, len(rows), len(blocks) + 1)
    for axes, row in zip(grid, rows, strict=True):
        axes[0].imshow(row.image)
        axes[0].set(xticks=[], yticks=[])
        axes[0].set_ylabel(row.label, fontsize=8)
    for column, block in enumerate(blocks, start=1):
        maps = [row.gates[block] for row in rows]
        shown = _draw_column(grid[:, column], rows, maps)
        grid[0, column].set_title(f"Block {block}\n{placement[block]}", fontsize=8)
        bar = figure.colorbar(shown, ax=list(grid[:, column]), location="bottom", shrink=0.9)
        bar.ax.tick_params(labelsize=6, rotation=30)
    grid[0, 0].set_title("image", fontsize=8)
    return figure


def _draw_column(axes: Sequence[Any], rows: Sequence[GatedImage], maps: list[np.ndarray]) -> Any:
    low, high = min(m.min() for m in maps), max(m.max() for m in maps)
    for place, row, values in zip(axes, rows, maps, strict=True):
        layer = enlarge_map(values, *row.image.shape[:2])
        shown = show_overlay(place, row.image, layer, cmap="viridis", vmin=low, vmax=high)
    return shown
