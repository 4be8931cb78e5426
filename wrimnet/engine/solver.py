"""The optimizer, in as few groups as its settings allow, and its schedule."""

import inspect
from collections import defaultdict
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from wrimnet.registries import SCHEDULE_REGISTRY, find_optimizer, find_registered
from wrimnet.schedules import warm_up_factor

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def build_optimizer(cfg: CfgNode, model: nn.Module) -> Optimizer:
    """Builds the optimizer of SOLVER.OPT over the trainable parameters of ``model``.

    Parameters of equal learning rate and weight decay share a group, so that the paper's recipe has
    one group and one fused update instead of FastReID's group per tensor.

    Raises:
        ValueError: a pattern of SOLVER.LR_MULTIPLIERS matches no parameter, or the optimizer has no
            weight decay.
    """
    groups = build_groups(cfg, model)
    build = find_optimizer(cfg.SOLVER.OPT)
    if not isinstance(build, type):
        return build(cfg, groups)
    has_decay = "weight_decay" in inspect.signature(build).parameters
    if not has_decay and any(group["weight_decay"] for group in groups):
        raise ValueError(
            f"SOLVER.OPT = {cfg.SOLVER.OPT!r} has no weight decay; set SOLVER.WEIGHT_DECAY 0"
        )
    options: dict[str, Any] = {"fused": True} if build in (SGD, Adam, AdamW) else {}
    if build is SGD:
        options |= {"momentum": cfg.SOLVER.MOMENTUM, "nesterov": cfg.SOLVER.NESTEROV}
    return build(groups, lr=cfg.SOLVER.BASE_LR, **options)


def build_groups(cfg: CfgNode, model: nn.Module) -> list[dict[str, Any]]:
    """Returns the parameter groups: parameters with their learning rate and weight decay.

    They are the same for every BASE_LR, which --resume may change.
    """
    solver = cfg.SOLVER
    decay = {
        "norm": _or_default(solver.WEIGHT_DECAY_NORM, solver.WEIGHT_DECAY),
        "bias": _or_default(solver.WEIGHT_DECAY_BIAS, solver.WEIGHT_DECAY),
        "weight": solver.WEIGHT_DECAY,
    }
    trainable = _trainable(model)
    check_patterns(solver.LR_MULTIPLIERS, [name for name, *_ in trainable])
    groups = defaultdict(list)
    for name, kind, in_head, parameter in trainable:
        factor = solver.HEADS_LR_FACTOR if in_head else 1.0
        factor *= solver.BIAS_LR_FACTOR if kind == "bias" else 1.0
        for pattern, of_pattern in solver.LR_MULTIPLIERS:
            factor *= of_pattern if fnmatchcase(name, pattern) else 1.0
        groups[factor, decay[kind]].append(parameter)
    return [
        {"params": parameters, "lr": solver.BASE_LR * factor, "weight_decay": weight_decay}
        for (factor, weight_decay), parameters in groups.items()
    ]


def check_patterns(multipliers: Sequence[tuple[str, float]], names: Sequence[str]) -> None:
    """Raises ValueError for a pattern that matches no parameter."""
    for pattern, _ in multipliers:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"SOLVER.LR_MULTIPLIERS: {pattern!r} matches none of the {len(names)} trainable "
                f"parameters, such as {names[0]} and {names[-1]}; * stands for anything"
            )


def _or_default(value: float, default: float) -> float:
    return default if value < 0 else value


def _trainable(model: nn.Module) -> list[tuple[str, str, bool, torch.nn.Parameter]]:
    """Name, kind ("norm", "bias", "weight"), whether it belongs to the head, and the parameter."""
    trainable = []
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                kind = "norm" if isinstance(module, _NORMS) else name.rpartition("_")[2]
                kind = kind if kind in ("norm", "bias") else "weight"
                full_name = f"{module_name}.{name}".lstrip(".")
                trainable.append((full_name, kind, module_name.startswith("heads"), parameter))
    return trainable


def build_lr_scheduler(cfg: CfgNode, optimizer: Optimizer, iters_per_epoch: int) -> LambdaLR:
    """Builds the schedule of SOLVER.SCHED with its warm-up, stepped once per iteration."""
    solver = cfg.SOLVER
    build = find_registered(SCHEDULE_REGISTRY, solver.SCHED, "SOLVER.SCHED")
    factor = build(cfg, iters_per_epoch)
    warm_up = warm_up_factor(solver.WARMUP_ITERS, solver.WARMUP_FACTOR, solver.WARMUP_METHOD)
    return LambdaLR(optimizer, lambda iteration: warm_up(iteration) * factor(iteration))
