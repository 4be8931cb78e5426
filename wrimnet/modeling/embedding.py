"""From images to an embedding: the one way, for evaluation, inference, figures and export."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor


def embed_parts(
    model: Any, images: Tensor, modality: int, *, flip: bool = False, precision: str = "fp32"
) -> dict[str, Tensor]:
    """Embeds images of one modality, group by group: float32 (B, D_group).

    ``model`` is a :class:`wrimnet.modeling.network.CrossModalityNetwork` in evaluation mode,
    ``images`` are uint8 (B, H, W, 3) or float (B, 3, H, W). With ``flip`` each group is the mean
    with that of the mirrored images.
    """
    half = torch.autocast(images.device.type, dtype=torch.bfloat16)
    with half if precision == "bf16" else nullcontext():
        parts = model.embed_parts(images, modality)
        if flip:
            width = 2 if images.dtype == torch.uint8 else 3
            mirrored = model.embed_parts(images.flip(width), modality)
            parts = {name: (part + mirrored[name]) / 2 for name, part in parts.items()}
    return {name: part.float() for name, part in parts.items()}


def join_parts(parts: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """Concatenates groups (B, D_group) and L2-normalizes each row, (B, D).

    The squared norm is summed, and the division done, in float64: rows that were joined on another
    device or in another batch have the same bits.
    """
    joined = torch.cat([parts[name] for name in names], dim=1)
    wide = joined.double()
    return (wide / torch.linalg.vector_norm(wide, dim=1, keepdim=True)).to(joined.dtype)
