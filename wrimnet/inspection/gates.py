"""The gates of the MIIMs: looked at, or exchanged for others."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from wrimnet.layers.miim import MIIM
from wrimnet.layers.per_modality import PerModality


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
        For each Block with a MIIM, the map of :meth:`MIIM.interaction_map` averaged over the
        channels, (B, h, w) float32.
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
        for block, miim in model.backbone.miims.items()
    }


def named_miims(model: nn.Module) -> dict[MIIMName, MIIM]:
    """Returns every MIIM of a WRIMNet, by Block."""
    found = {}
    for block, miim in sorted(model.backbone.miims.items()):
        separate = isinstance(miim, PerModality)
        copies = dict(miim.named_children()) if separate else {"shared": miim}
        found |= {MIIMName(int(block), copy): module for copy, module in copies.items()}
    return found


@contextmanager
def intercepted_gates(
    model: nn.Module, change: Callable[[MIIMName, Tensor], Tensor]
) -> Iterator[None]:
    """Within the context, MIIMs fuse with what ``change`` makes of their gates.

    Args:
        model: a WRIMNet.
        change: takes the MIIM's name and gates (B, C, H, W) and returns gates of that shape, or
            of one that is broadcast to it; the same ones to only look at them.
    """
    miims = named_miims(model)

    def changed(name: MIIMName, compute: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
        return change(name, compute(features))

    for name, miim in miims.items():
        # on the object itself, in front of the class's method
        miim.interaction_map = partial(changed, name, miim.interaction_map)
    try:
        yield
    finally:
        for miim in miims.values():
            del miim.interaction_map
