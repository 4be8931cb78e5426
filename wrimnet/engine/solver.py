"""The optimizer, in as few groups as its settings allow, and the learning rate's law."""

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def build_optimizer(cfg: CfgNode, model: nn.Module) -> Optimizer:
    """Builds Adam (L2 inside), AdamW or SGD over the trainable parameters of ``model``.

    Parameters of equal learning rate and weight decay share a group, so that the paper's recipe has
    one group and one fused update instead of FastReID's group per tensor.
    """
    solver = cfg.SOLVER
    decay = {
        "norm": _or_default(solver.WEIGHT_DECAY_NORM, solver.WEIGHT_DECAY),
        "bias": _or_default(solver.WEIGHT_DECAY_BIAS, solver.WEIGHT_DECAY),
        "weight": solver.WEIGHT_DECAY,
    }
    groups = defaultdict(list)
    for kind, in_head, parameter in _trainable(model):
        rate = solver.BASE_LR * (solver.HEADS_LR_FACTOR if in_head else 1.0)
        rate *= solver.BIAS_LR_FACTOR if kind == "bias" else 1.0
        groups[rate, decay[kind]].append(parameter)
    grouped = [
        {"params": parameters, "lr": rate, "weight_decay": weight_decay}
        for (rate, weight_decay), parameters in groups.items()
    ]
    if solver.OPT == "SGD":
        return SGD(grouped, momentum=solver.MOMENTUM, nesterov=solver.NESTEROV, fused=True)
    return {"Adam": Adam, "AdamW": AdamW}[solver.OPT](grouped, fused=True)


def _or_default(value: float, default: float) -> float:
    return default if value < 0 else value


def _trainable(model: nn.Module) -> list[tuple[str, bool, torch.nn.Parameter]]:
    """Kind ("norm", "bias", "weight"), whether it is of the head, and the parameter."""
    found = []
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                kind = "norm" if isinstance(module, _NORMS) else name.rpartition("_")[2]
                kind = kind if kind in ("norm", "bias") else "weight"
                found.append((kind, module_name.startswith("heads"), parameter))
    return found


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
