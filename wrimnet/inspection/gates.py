"""The gates of the MIIMs for given images."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from wrimnet.layers.miim import MIIM
from wrimnet.layers.per_modality import PerModality


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
    with torch.inference_mode(), _record_gates(model.backbone.miims, gates):
        model.embed_parts(images, modality)
    return gates


def miim_placement(model: nn.Module) -> dict[int, str]:
    """Says of each Block with a MIIM whether it is "separate" or "shared"."""
    return {
        int(block): "separate" if isinstance(miim, PerModality) else "shared"
        for block, miim in model.backbone.miims.items()
    }


@contextmanager
def _record_gates(miims: nn.ModuleDict, gates: dict[int, np.ndarray]) -> Iterator[None]:
    with ExitStack() as hooks:
        for block, miim in miims.items():
            for module in miim.modules():
                if isinstance(module, MIIM):
                    hook = module.register_forward_pre_hook(_recorder(gates, int(block)))
                    hooks.callback(hook.remove)
        yield


def _recorder(gates: dict[int, np.ndarray], block: int) -> object:
    def record(miim: MIIM, inputs: tuple[Tensor, ...]) -> None:
        gates[block] = miim.interaction_map(inputs[0]).float().mean(dim=1).cpu().numpy()

    return record
