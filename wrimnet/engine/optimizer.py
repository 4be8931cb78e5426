"""The optimizer, its parameters merged into as few groups as their settings allow."""

from collections import defaultdict

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

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
