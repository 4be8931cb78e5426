"""A training step with fresh weights, and batches of random pixels as the loader delivers them."""

from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from torch import Tensor

from wrimnet.data.batch_rows import map_tensors
from wrimnet.data.images import ImageItem
from wrimnet.data.loader import attached_columns
from wrimnet.engine.data_parallel import build_shared_model
from wrimnet.engine.solver import build_optimizer
from wrimnet.engine.step import TrainingStep, build_training_step
from wrimnet.modality import INFRARED, VISIBLE
from wrimnet.modeling.weights import build_model


def build_step(cfg: CfgNode) -> TrainingStep:
    """Builds the training step of a configuration; MODEL.HEADS.NUM_CLASSES is set."""
    model = build_shared_model(cfg, build_model(cfg)).train()
    return build_training_step(cfg, model, build_optimizer(cfg, model))


def random_batch(cfg: CfgNode) -> dict[str, Any]:
    """Returns a batch of random uint8 images on MODEL.DEVICE; equal on every call."""
    shape = (cfg.SOLVER.IMS_PER_BATCH, *cfg.INPUT.SIZE_TRAIN, 3)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return batch_of(cfg, images.to(cfg.MODEL.DEVICE))


def batch_of(cfg: CfgNode, images: Tensor, item: ImageItem | None = None) -> dict[str, Any]:
    """Adds to images (B, ...) the labels of P identities, visible images first; on their device.

    What the dataset attached to ``item`` is attached to every image.
    """
    size, per_id = cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.NUM_INSTANCE
    labels = torch.arange(size // (2 * per_id)).repeat_interleave(per_id).repeat(2)
    attached = attached_columns([item] * size) if item else {}
    return {
        "images": images,
        "targets": labels.to(images.device),
        "labels": labels,
        "modality": torch.tensor([VISIBLE, INFRARED]).repeat_interleave(size // 2),
        "camids": torch.ones(size, dtype=torch.int64, device=images.device),
        "attached": map_tensors(attached, lambda column: column.to(images.device)),
        "img_paths": [item.path if item else ""] * size,
        "iteration": 0,
        "repeats": 0,
    }
