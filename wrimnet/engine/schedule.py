"""The learning rate as a function of the iteration alone."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence

import wrimnet.compat  # noqa: F401

from fastreid.config import CfgNode
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def build_lr_scheduler(cfg: CfgNode, optimizer: Optimizer, iters_per_epoch: int) -> LambdaLR:
    """Builds the schedule of ``cfg.SOLVER``, stepped once per iteration.

    Epochs count from 0, so STEPS [80, 120] makes epoch 80 the first at GAMMA times the rate,
    whatever the warm-up (FastReID's own hook shifts the steps by its epochs).
    """
    solver = cfg.SOLVER
    if solver.SCHED == "MultiStepLR":
        by_epoch = multi_step(solver.STEPS, solver.GAMMA)
    else:
        least = solver.ETA_MIN_LR / solver.BASE_LR
        by_epoch = cosine(solver.MAX_EPOCH, solver.DELAY_EPOCHS, least)
    warm_up = warm_up_factor(solver.WARMUP_ITERS, solver.WARMUP_FACTOR, solver.WARMUP_METHOD)
    return LambdaLR(
        optimizer, lambda iteration: warm_up(iteration) * by_epoch(iteration // iters_per_epoch)
    )


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
