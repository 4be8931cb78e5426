"""MIIM's gates over the images, per Block and modality."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wrimnet.analysis.figure_files import add_axes, new_figure
from wrimnet.analysis.overlays import enlarge_map, show_image, show_overlay

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
    """Draws one row per image, one column per Block; each map has the scale printed below it.

    The level of a gate differs between images more than within one, so a common scale would hide
    where in the image it opens.

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
    tile_width = max(_TILE_HEIGHT * width / height, 0.85)
    size = (max(1 + (len(blocks) + 1) * tile_width, 7.4), 1 + len(rows) * (_TILE_HEIGHT + 0.25))
    figure = new_figure(*size, title, layout="constrained")
    grid = add_axes(figure, len(rows), len(blocks) + 1)
    for axes, row in zip(grid, rows, strict=True):
        show_image(axes[0], row.image)
        axes[0].set_ylabel(row.label, fontsize=8, rotation=0, ha="right", va="center")
        for place, block in zip(axes[1:], blocks, strict=True):
            _draw_gate(place, row.image, row.gates[block])
    grid[0, 0].set_title("image", fontsize=8)
    for axes, block in zip(grid[0, 1:], blocks, strict=True):
        axes.set_title(f"Block {block}\n{placement[block]}", fontsize=8)
    return figure


def _draw_gate(axes: Any, image: np.ndarray, gate: np.ndarray) -> None:
    low, high = float(gate.min()), float(gate.max())
    layer = enlarge_map(gate, *image.shape[:2])
    show_overlay(axes, image, layer, cmap="viridis", vmin=low, vmax=max(high, low + 1e-9))
    axes.set_xlabel(f"{low:.4f} to {high:.4f}", fontsize=7, labelpad=2)
