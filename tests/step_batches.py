"""Training steps of a tiny network, and batches of noise for them, without any file."""

from pathlib import Path

import torch
from tiny_runs import tiny_cfg

from wrimnet.engine.solver import build_optimizer
from wrimnet.engine.step import build_training_step
from wrimnet.modeling.weights import build_model

NOWHERE = Path("not_read")


def step_cfg(**overrides):
    """Four identities with two images each and per modality; 32 x 16 pixels."""
    overrides = {"SOLVER__IMS_PER_BATCH": "16", "MODEL__HEADS__NUM_CLASSES": "4", **overrides}
    return tiny_cfg(NOWHERE, NOWHERE, **overrides)


def make_step(**overrides):
    """The step on a network whose weights depend on nothing but the configuration."""
    cfg = step_cfg(**overrides)
    torch.manual_seed(0)
    model = build_model(cfg).train()
    return build_training_step(cfg, model, build_optimizer(cfg, model))


def make_batch(device="cpu", iteration=0):
    generator = torch.Generator().manual_seed(iteration)
    images = torch.randint(0, 256, (16, 32, 16, 3), generator=generator, dtype=torch.uint8)
    labels = torch.arange(4).repeat_interleave(2).repeat(2)
    return {
        "images": images.to(device),
        "targets": labels.to(device),
        "labels": labels,
        "modality": torch.arange(2).repeat_interleave(8),
        "iteration": iteration,
    }


def gradients_of(model):
    return {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
