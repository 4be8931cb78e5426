"""The gates of the MIIMs: looked at, drawn, measured, exchanged for others."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from wrimnet.layers.miim import MIIM
from wrimnet.layers.per_modality import PerModality
from wrimnet.visualization.drawing import (
    add_axes,
    enlarge_map,
    new_figure,
    show_image,
    show_overlay,
)

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
    where in the image it opens. ``placement`` says of each Block "separate" or "shared".

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


class MIIMName(NamedTuple):
    """Which MIIM: after which Block, and "shared", "visible" or "infrared" (a separate one)."""

    block: int
    copy: str


def gate_maps(model: nn.Module, images: Tensor, modality: int) -> dict[int, np.ndarray]:
    """Computes what each MIIM multiplies its features with (or adds to them).

    Args:
        model: a WRIMNet in evaluation mode; ``backbone.miims`` are its MIIMs by Block.
        images: (B, H, W, 3) uint8 on the model's device.
        modality: of the images; a separate MIIM answers with its copy for it.

    Returns:
        By Block, the mean of :meth:`MIIM.interaction_map` over the channels, (B, h, w) float32.
    """
    gates: dict[int, np.ndarray] = {}

    def record(name: MIIMName, gate: Tensor) -> Tensor:
        gates[name.block] = gate.float().mean(dim=1).cpu().numpy()
        return gate

    with torch.inference_mode(), intercepted_gates(model, record):
        model.embed_parts(images, modality)
    return gates


def miim_placement(model: nn.Module) -> dict[int, str]:
    """Says of each Block with a MIIM whether it is "separate" or "shared"."""
    return {
        int(block): "separate" if isinstance(miim, PerModality) else "shared"
        for block, miim in _miims(model).items()
    }


def _miims(model: nn.Module) -> nn.ModuleDict:
    """The MIIMs of a network by Block; none where its backbone has none."""
    return getattr(getattr(model, "backbone", None), "miims", nn.ModuleDict())


def named_miims(model: nn.Module) -> dict[MIIMName, MIIM]:
    """Returns every MIIM of a network, by Block."""
    found = {}
    for block, miim in sorted(_miims(model).items()):
        separate = isinstance(miim, PerModality)
        copies = dict(miim.named_children()) if separate else {"shared": miim}
        found |= {MIIMName(int(block), copy): module for copy, module in copies.items()}
    return found


@contextmanager
def intercepted_gates(
    model: nn.Module, change: Callable[[MIIMName, Tensor], Tensor]
) -> Iterator[None]:
    """Within the context, MIIMs fuse with what ``change`` makes of their name and gates.

    The gates are (B, C, H, W); what it returns is of that shape or is broadcast to it.
    """

    def changed(name: MIIMName, compute: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
        return change(name, compute(features))

    miims = named_miims(model)
    for name, miim in miims.items():
        # on the object itself, in front of the class's method
        miim.interaction_map = partial(changed, name, miim.interaction_map)
    try:
        yield
    finally:
        for miim in miims.values():
            del miim.interaction_map
