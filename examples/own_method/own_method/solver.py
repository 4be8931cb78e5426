"""An optimizer and a custom schedule."""

import math

import torch

from wrimnet.registries import OPTIMIZER_REGISTRY, SCHEDULE_REGISTRY


@OPTIMIZER_REGISTRY.register()
def quick_adam(cfg, groups):
    """Builds Adam with a shorter memory; each group has its learning rate and weight decay."""
    return torch.optim.Adam(groups, betas=(0.8, 0.99))


@SCHEDULE_REGISTRY.register()
def half_cosine(cfg, iters_per_epoch):
    """Returns the factor of the learning rate by iteration, from 1 to 0."""
    total = cfg.SOLVER.MAX_EPOCH * iters_per_epoch
    return lambda iteration: (1 + math.cos(math.pi * iteration / total)) / 2
