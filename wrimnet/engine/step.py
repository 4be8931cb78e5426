"""One training step on one batch: augmentation, forward, backward, update."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from torch import Tensor, nn
from torch.optim import Optimizer

from wrimnet.data.augmentation import BatchAugmentation, build_augmentation
from wrimnet.engine.acceleration import build_acceleration
from wrimnet.engine.data_parallel import share_gradients
from wrimnet.engine.gradients import gradient_norm
from wrimnet.engine.micro_batches import micro_batches


class TrainingStep:
    """Trains a model on a batch without waiting for the device.

    Args:
        model: returns its weighted loss terms and keeps the raw ones in ``raw_losses``.
        optimizer: over the model's parameters.
        augmentation: of the uint8 images.
        autocast: context of the forward pass; losses leave it by themselves.
        clip_gradients: takes the parameters after the backward pass and returns the norm before
            clipping; None leaves the gradients as they are.
        acceleration: context of the forward pass, see :func:`build_acceleration`.
        num_parts: the batch's gradient is the mean over so many parts, see :func:`micro_batches`.
        network: what is called in the model's place and gives the same; None for the model itself.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: Optimizer,
        augmentation: BatchAugmentation,
        autocast: torch.autocast,
        clip_gradients: Callable[[Any], Tensor] | None,
        acceleration: AbstractContextManager[Any] | None = None,
        num_parts: int = 1,
        network: nn.Module | None = None,
    ) -> None:
        self.model = model
        self.network = network or model
        self.optimizer = optimizer
        self.augmentation = augmentation
        self.autocast = autocast
        self.clip_gradients = clip_gradients
        self.acceleration = acceleration or nullcontext()
        self.num_parts = num_parts

    def __call__(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Returns total, weighted and raw losses and the gradient's norm, on the device."""
        self.optimizer.zero_grad(set_to_none=True)
        parts = micro_batches(self.augment(batch), self.num_parts)
        losses = _means([self.accumulate(part) for part in parts])
        return {**losses, "grad_norm": self.update()}

    def augment(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Returns the batch with augmented float images (B, 3, H, W)."""
        images = self.augmentation(batch["images"], batch["modality"], batch["iteration"])
        return {**batch, "images": images}

    def accumulate(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Adds a part's share to the gradient; returns its losses."""
        losses = self.forward(batch)
        total = sum(losses.values())
        (total / self.num_parts).backward()
        raw = {f"raw/{name}": value for name, value in self.model.raw_losses.items()}
        return {"total_loss": total, **losses, **raw}

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Computes the weighted loss terms of augmented images."""
        with self.autocast, self.acceleration:
            return self.network(batch)

    def update(self) -> Tensor:
        """Clips the gradient if that is asked for, and steps; returns the norm before clipping."""
        norm = (self.clip_gradients or gradient_norm)(self.model.parameters())
        self.optimizer.step()
        return norm


def _means(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each value over the parts of a batch."""
    if len(parts) == 1:
        return parts[0]
    return {name: torch.stack([part[name].detach() for part in parts]).mean() for name in parts[0]}


def build_training_step(cfg: CfgNode, model: nn.Module, optimizer: Optimizer) -> TrainingStep:
    """Builds the step of SOLVER.PRECISION, COMPILE, ACCUMULATION_STEPS and CLIP_GRADIENTS."""
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
        acceleration=build_acceleration(cfg, model),
        num_parts=cfg.SOLVER.ACCUMULATION_STEPS,
        network=share_gradients(model),
    )
