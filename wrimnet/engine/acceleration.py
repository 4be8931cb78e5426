"""PyTorch's switches for speed and repeatability, and the compiler."""

import logging
import os
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from fastreid.config import CfgNode
from torch import nn

_logger = logging.getLogger("fastreid.wrimnet.acceleration")


def setup_pytorch(cfg: CfgNode) -> None:
    """Sets determinism and the number formats of float32 work.

    Convolutions that stay in float32 may use TF32. Matrix products may not: with embeddings of unit
    length, TF32 could shift the exponents of CMKIC, z_i.z_a / tau, by 2^-10 / 0.07 = 0.014, and the
    products outside of bf16 are too small to matter for speed.
    """
    if cfg.DETERMINISTIC:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for
    torch.use_deterministic_algorithms(cfg.DETERMINISTIC)
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK and not cfg.DETERMINISTIC
    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("highest")


class CompiledTraining:
    """Context in which a model's backbone and loss terms run as compiled code.

    Shapes are static: one graph for the training batch. Outside of the context the model is as it
    was, so that evaluation with its many shapes, copies and checkpoints know nothing of it.

    Args:
        model: has ``backbone`` (with the MIIMs) and ``loss_terms``.
        backend: of torch.compile.
    """

    def __init__(self, model: nn.Module, backend: str = "inductor") -> None:
        self._compiled = [
            (owner, name, torch.compile(getattr(owner, name), dynamic=False, backend=backend))
            for owner, name in ((model.backbone, "forward"), (model, "loss_terms"))
        ]

    def __enter__(self) -> None:
        """Puts the compiled functions before those of the classes."""
        for owner, name, function in self._compiled:
            setattr(owner, name, function)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Lets the classes' functions show again."""
        for owner, name, _ in self._compiled:
            delattr(owner, name)


def build_acceleration(cfg: CfgNode, model: nn.Module) -> AbstractContextManager[Any]:
    """Returns the context of the training's forward pass that SOLVER.COMPILE asks for."""
    if not cfg.SOLVER.COMPILE:
        return nullcontext()
    problem = compiler_problem(torch.device(cfg.MODEL.DEVICE))
    if problem is None:
        return CompiledTraining(model)
    _logger.warning(
        "SOLVER.COMPILE is on, but torch.compile does not work here; training runs uncompiled. "
        "It needs a C++ compiler, and Triton for CUDA. It said: %s",
        problem,
    )
    return nullcontext()


def compiler_problem(device: torch.device, backend: str = "inductor") -> str | None:
    """Compiles one operation; returns what the compiler complained about, None if it works."""
    values = torch.ones(8, device=device, requires_grad=True)
    try:
        torch.compile(_square, dynamic=False, backend=backend)(values).sum().backward()
    except (RuntimeError, ImportError, OSError) as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def _square(values: torch.Tensor) -> torch.Tensor:
    return values * values
