"""Learning-rate schedules: from the iteration, counted from 0, to a factor of the learning rate."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode

from wrimnet.registries import SCHEDULE_REGISTRY, register_as


@register_as(SCHEDULE_REGISTRY, "MultiStepLR")
def build_multi_step(cfg: CfgNode, iters_per_epoch: int) -> Callable[[int], float]:
    """Builds the schedule whose epochs from STEPS on have GAMMA times the learning rate.

    Epochs count from 0, so STEPS [80, 120] makes epoch 80 the first at GAMMA times the rate,
    whatever the warm-up (FastReID's own hook shifts the steps by its epochs).
    """
    return partial(_by_epoch, multi_step(cfg.SOLVER.STEPS, cfg.SOLVER.GAMMA), iters_per_epoch)


@register_as(SCHEDULE_REGISTRY, "CosineAnnealingLR")
def build_cosine(cfg: CfgNode, iters_per_epoch: int) -> Callable[[int], float]:
    """Builds the half cosine down to ETA_MIN_LR, the same within an epoch."""
    solver = cfg.SOLVER
    law = cosine(solver.MAX_EPOCH, solver.DELAY_EPOCHS, solver.ETA_MIN_LR / solver.BASE_LR)
    return partial(_by_epoch, law, iters_per_epoch)


def _by_epoch(law: Callable[[int], float], iters_per_epoch: int, iteration: int) -> float:
    return law(iteration // iters_per_epoch)


def multi_step(steps: Sequence[int], gamma: float) -> Callable[[int], float]:
    """Returns epoch -> gamma ** (number of steps that are not after the epoch)."""
    ordered = sorted(steps)
    return lambda epoch: gamma ** bisect_right(ordered, epoch)


def cosine(max_epoch: int, delay: int, least: float) -> Callable[[int], float]:
    """Returns epoch -> 1 for ``delay`` epochs, then half a cosine down to ``least``."""
    length = max(1, max_epoch - delay)

    def factor(epoch: int) -> float:
        progress = min(1.0, max(0, epoch - delay) / length)
        return least + (1 - least) * (1 + math.cos(math.pi * progress)) / 2

    return factor


def warm_up_factor(iterations: int, start: float, method: str) -> Callable[[int], float]:
    """Returns iteration -> factor from ``start`` to 1, "linear" or "constant" on the way."""

    def factor(iteration: int) -> float:
        if iteration >= iterations:
            return 1.0
        return start + (1 - start) * (iteration / iterations if method == "linear" else 0.0)

    return factor
