"""Training steps that differ in one respect each, from FastReID's way to this project's."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from wrimnet.engine.solver import build_optimizer
from wrimnet.engine.step import TrainingStep, build_training_step, compiler_said
from wrimnet.lab.benchmarks.batches import batch_of
from wrimnet.modeling.weights import build_model


@dataclass(frozen=True, kw_only=True)
class Variant:
    """How a training step runs.

    Attributes:
        name: in the table; each row of it adds one thing to the row above.
        tf32: convolutions in float32 may use TF32.
        precision: "fp32" or "bf16".
        channels_last: NHWC, else NCHW.
        merged: one fused update over merged groups and no value read on the host, else a group per
            tensor and every loss read in every step.
        augmented: starts from bytes and augments on the device, else from floats that lie there.
        compiled: backbone, MIIM and losses compiled.
    """

    name: str
    tf32: bool = False
    precision: str = "fp32"
    channels_last: bool = False
    merged: bool = False
    augmented: bool = False
    compiled: bool = False


BASELINE = Variant(name="FastReID-style: fp32, TF32 off, NCHW, a group per tensor, .item()")
_TF32 = replace(BASELINE, name="+ TF32 convolutions (PyTorch's default)", tf32=True)
_BF16 = replace(_TF32, name="+ bf16", precision="bf16")
_NHWC = replace(_BF16, name="+ channels_last", channels_last=True)
_MERGED = replace(_NHWC, name="+ fused Adam, merged groups, no .item()", merged=True)
OURS = replace(_MERGED, name="+ augmentation on the device", augmented=True)
_COMPILED = replace(OURS, name="+ compile", compiled=True)
VARIANTS = (BASELINE, _TF32, _BF16, _NHWC, _MERGED, OURS, _COMPILED)
_NOT_ON_CPUS = {
    _TF32.name: "not measured: a format of CUDA devices",
    _BF16.name: "not measured: slow on CPUs; the rows below run in fp32",
    _COMPILED.name: "not measured: minutes of compiling, and no hint at a GPU's gain",
}


def reason_to_skip(variant: Variant, device: torch.device) -> str | None:
    """Returns why a variant's row cannot be measured on the device, or None."""
    if device.type != "cuda":
        return _NOT_ON_CPUS.get(variant.name)
    problem = compiler_problem(device) if variant.compiled else None
    return f"not measured: torch.compile does not work here ({problem})" if problem else None


def compiler_problem(device: torch.device, backend: str = "inductor") -> str | None:
    """Compiles one operation; returns what the compiler complained about, None if it works."""
    values = torch.ones(8, device=device, requires_grad=True)
    try:
        torch.compile(_square, dynamic=False, backend=backend)(values).sum().backward()
    except (RuntimeError, ImportError, OSError) as error:
        return compiler_said(error)
    return None


def _square(values: Tensor) -> Tensor:
    return values * values


def build_variant(cfg: CfgNode, variant: Variant) -> TrainingStep:
    """Builds the training step of a variant, with fresh weights."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.BACKBONE.PRETRAIN = False
    cfg.SOLVER.PRECISION = variant.precision if cfg.MODEL.DEVICE.startswith("cuda") else "fp32"
    cfg.SOLVER.CHANNELS_LAST = variant.channels_last
    cfg.SOLVER.COMPILE = "always" if variant.compiled else "never"
    model = build_model(cfg).train()
    solver = cfg.SOLVER
    merged = build_optimizer(cfg, model) if variant.merged else None
    optimizer = merged or group_per_tensor(model, solver.BASE_LR, solver.WEIGHT_DECAY)
    step = build_training_step(cfg, model, optimizer)
    if not variant.augmented:
        step.augment = lambda batch: batch
    return step


def group_per_tensor(model: nn.Module, rate: float, weight_decay: float) -> Optimizer:
    """FastReID's arrangement: as many parameter groups as parameters."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return Adam([{"params": [one]} for one in trainable], lr=rate, weight_decay=weight_decay)


def build_batch(cfg: CfgNode, variant: Variant) -> dict[str, Any]:
    """Builds a batch of random pixels, in the form that the variant starts from."""
    shape = (cfg.SOLVER.IMS_PER_BATCH, *cfg.INPUT.SIZE_TRAIN, 3)
    drawn = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, shape, generator=drawn, dtype=torch.uint8)
    return batch_of(cfg, _as_started_from(images.to(cfg.MODEL.DEVICE), variant))


def _as_started_from(images: Tensor, variant: Variant) -> Tensor:
    if variant.augmented:
        return images
    floats = images.permute(0, 3, 1, 2).float()
    return floats if variant.channels_last else floats.contiguous()


def step_function(
    step: TrainingStep, batch: dict[str, Any], variant: Variant
) -> Callable[[], None]:
    """Returns a function that trains once on the batch."""

    def run() -> None:
        losses = step(batch)
        if not variant.merged:
            for value in losses.values():
                value.item()

    return run
