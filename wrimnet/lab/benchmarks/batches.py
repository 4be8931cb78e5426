"""A training batch as the loader delivers it, around images of the caller's own."""

from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from torch import Tensor

from wrimnet.modality import INFRARED, VISIBLE


def batch_of(cfg: CfgNode, images: Tensor) -> dict[str, Any]:
    """Adds to images (B, ...) the labels of P identities, visible images first; on their device."""
    size, per_id = cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.NUM_INSTANCE
    labels = torch.arange(size // (2 * per_id)).repeat_interleave(per_id).repeat(2)
    return {
        "images": images,
        "targets": labels.to(images.device),
        "labels": labels,
        "modality": torch.tensor([VISIBLE, INFRARED]).repeat_interleave(size // 2),
        "iteration": 0,
    }
