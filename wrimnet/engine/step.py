"""One training step on one batch: augmentation, forward, backward, update."""

from collections.abc import Callable
from functools import partial
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from torch import Tensor, nn
from torch.optim import Optimizer

from wrimnet.data.augmentation import BatchAugmentation, build_augmentation
from wrimnet.engine.gradients import gradient_norm


class TrainingStep:
    """Trains a model on a batch without waiting for the device.

    Args:
        model: returns its weighted loss terms and keeps the raw ones in ``raw_losses``.
        optimizer: over the model's parameters.
        augmentation: of the uint8 images.
        autocast: context of the forward pass; losses leave it by themselves.
        clip_gradients: takes the parameters after the backward pass and returns the norm before
            clipping; None leaves the gradients as they are.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: Optimizer,
        augmentation: BatchAugmentation,
        autocast: torch.autocast,
        clip_gradients: Callable[[Any], Tensor] | None,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.augmentation = augmentation
        self.autocast = autocast
        self.clip_gradients = clip_gradients

    def __call__(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Returns total, weighted and raw losses and the gradient's norm, on the device."""
        losses = self.forward(batch)
        self.optimizer.zero_grad(set_to_none=True)
        total = sum(losses.values())
        total.backward()
        norm = (self.clip_gradients or gradient_norm)(self.model.parameters())
        self.optimizer.step()
        raw = {f"raw/{name}": value for name, value in self.model.raw_losses.items()}
        return {"total_loss": total, **losses, **raw, "grad_norm": norm}

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Augments the images and computes the weighted loss terms."""
        images = self.augmentation(batch["images"], batch["modality"], batch["iteration"])
        with self.autocast:
            return self.model({**batch, "images": images})


def build_training_step(cfg: CfgNode, model: nn.Module, optimizer: Optimizer) -> TrainingStep:
    """Builds the step of SOLVER.PRECISION and SOLVER.CLIP_GRADIENTS."""
    clip = cfg.SOLVER.CLIP_GRADIENTS
    return TrainingStep(
        model=model,
        optimizer=optimizer,
        augmentation=build_augmentation(cfg),
        autocast=torch.autocast(
            torch.device(cfg.MODEL.DEVICE).type,
            dtype=torch.bfloat16,
            enabled=cfg.SOLVER.PRECISION == "bf16",
        ),
        clip_gradients=partial(
            nn.utils.clip_grad_norm_, max_norm=clip.CLIP_VALUE, norm_type=clip.NORM_TYPE
        )
        if clip.ENABLED
        else None,
    )
