"""The gates of the MIIMs: looked at, drawn, measured, exchanged for others."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn

from wrimnet.layers.fusion import SigmoidGate
from wrimnet.layers.miim import MIIM
from wrimnet.layers.per_modality import PerModality
from wrimnet.modeling.network import CrossModalityNetwork
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
OF_PAPER = "sigmoid(F5)"
FLAT = 1e-3  # the paper's gates lie in 0 to 1; what varies by less is rounding, not attention


class GatedImage(NamedTuple):
    """An image (H, W, 3) uint8, its label, and per Block the gate (h, w), mean over channels."""

    image: np.ndarray
    label: str
    gates: Mapping[int, np.ndarray]


def draw_gate_maps(
    title: str, rows: Sequence[GatedImage], placement: Mapping[int, str]
) -> "Figure":
    """Draws one row per image, one column per Block with one scale and its color bar.

    A map that varies by less than FLAT is gray and called flat: its range, printed below every
    map, is too small to be looked at. ``placement`` says of each Block "separate" or "shared".

    Raises:
        ValueError: no image, or a network without a MIIM.
    """
    blocks = sorted(placement)
    if not rows or not blocks:
        raise ValueError("gate maps need at least one image and a network with at least one MIIM")
    height, width = rows[0].image.shape[:2]
    tile_width = max(_TILE_HEIGHT * width / height, 0.85)
    size = (max(1 + (len(blocks) + 1) * tile_width, 7.4), 1.5 + len(rows) * (_TILE_HEIGHT + 0.25))
    figure = new_figure(*size, title, layout="constrained")
    grid = add_axes(figure, len(rows), len(blocks) + 1)
    for axes, row in zip(grid, rows, strict=True):
        show_image(axes[0], row.image)
        axes[0].set_ylabel(row.label, fontsize=8, rotation=0, ha="right", va="center")
    grid[0, 0].set_title("image", fontsize=8)
    for column, block in enumerate(blocks, start=1):
        grid[0, column].set_title(f"Block {block}\n{placement[block]}", fontsize=8)
        _draw_block(figure, grid[:, column], rows, block)
    return figure


def _draw_block(figure: "Figure", column: Any, rows: Sequence[GatedImage], block: int) -> None:
    """Draws one Block's gate maps of all images on one scale."""
    gates = [row.gates[block] for row in rows]
    scale = {"vmin": min(gate.min() for gate in gates), "vmax": max(gate.max() for gate in gates)}
    drawn = None
    for axes, row, gate in zip(column, rows, gates, strict=True):
        low, high = float(gate.min()), float(gate.max())
        flat = high - low < FLAT
        if flat:
            show_image(axes, np.full_like(row.image, 160))
        else:
            layer = enlarge_map(gate, *row.image.shape[:2])
            drawn = show_overlay(axes, row.image, layer, cmap="viridis", **scale)
        axes.set_xlabel(f"{'flat, ' * flat}{low:.4f} to {high:.4f}", fontsize=7, labelpad=2)
    if drawn is not None:
        bar = figure.colorbar(drawn, ax=list(column), location="bottom", shrink=0.9, aspect=12)
        bar.ax.tick_params(labelsize=6)
        bar.ax.locator_params(nbins=3)


class MIIMName(NamedTuple):
    """Which MIIM: after which Block, and "shared", "visible" or "infrared" (a separate one)."""

    block: int
    copy: str


def gate_maps(model: CrossModalityNetwork, images: Tensor, modality: int) -> dict[int, np.ndarray]:
    """Computes what each MIIM that has a gate multiplies its features with.

    Args:
        model: a WRIMNet in evaluation mode; ``backbone.miims`` are its MIIMs by Block.
        images: (B, H, W, 3) uint8 on the model's device.
        modality: of the images; a separate MIIM answers with its copy for it.

    Returns:
        By Block, the mean of :meth:`MIIM.gate` over the channels, (B, h, w) float32.
    """
    gates: dict[int, np.ndarray] = {}

    def record(name: MIIMName, gate: Tensor) -> Tensor:
        gates[name.block] = gate.float().mean(dim=1).cpu().numpy()
        return gate

    with torch.inference_mode(), intercepted_gates(model, record):
        model.embed_parts(images, modality)
    return gates


def miim_placement(model: nn.Module) -> dict[int, str]:
    """Says of each Block whose MIIM has a gate whether it is "separate" or "shared"."""
    return {
        name.block: "shared" if name.copy == "shared" else "separate" for name in gated_miims(model)
    }


def gated_miims(model: nn.Module) -> dict[MIIMName, MIIM]:
    """Returns every MIIM of a network that has a gate, by Block."""
    return {n: block for n, block in _named_blocks(model).items() if _has_gate(block)}


def gate_name(model: nn.Module) -> str:
    """Names what MIIMs multiply features with: "gate" unless every one has the paper's."""
    fusions: list[Any] = [miim.fusion for miim in gated_miims(model).values()]
    of_paper = all(type(one).gate is SigmoidGate.gate and one.scale == 1 for one in fusions)
    return OF_PAPER if of_paper else "gate"


def blocks_without_gate(model: nn.Module) -> list[str]:
    """Names every block in a MIIM's place that has no gate, with its class and fusion."""
    return [
        f"Block {name.block}, {name.copy}: {type(block).__name__}"
        + (f" with {type(block.fusion).__name__}" if type(block) is MIIM else "")
        for name, block in _named_blocks(model).items()
        if not _has_gate(block)
    ]


def _has_gate(block: nn.Module) -> TypeGuard[MIIM]:
    return isinstance(block, MIIM) and block.has_gate


def _named_blocks(model: nn.Module) -> dict[MIIMName, nn.Module]:
    """The blocks after a network's Blocks; none where its backbone has none."""
    miims = getattr(getattr(model, "backbone", None), "miims", nn.ModuleDict())
    named_blocks: dict[MIIMName, nn.Module] = {}
    for stage, block in sorted(miims.items()):
        separate = isinstance(block, PerModality)
        copies = dict(block.named_children()) if separate else {"shared": block}
        named_blocks |= {MIIMName(int(stage), copy): module for copy, module in copies.items()}
    return named_blocks


@contextmanager
def intercepted_gates(
    model: nn.Module, change: Callable[[MIIMName, Tensor], Tensor]
) -> Iterator[None]:
    """Within the context, MIIMs fuse with what ``change`` makes of their name and gates.

    The gates are (B, C, H, W); what it returns has that shape or is broadcast to it.
    """

    def changed(name: MIIMName, compute: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
        return change(name, compute(features))

    miims = gated_miims(model)
    for name, miim in miims.items():
        # on the object itself, in front of the class's method
        setattr(miim, "gate", partial(changed, name, miim.gate))  # noqa: B010
    try:
        yield
    finally:
        for miim in miims.values():
            del miim.gate
