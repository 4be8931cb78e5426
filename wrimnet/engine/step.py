"""One training step on one batch, and PyTorch's switches for speed and repeatability."""

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import TracebackType
from typing import Any

import wrimnet.compat  # noqa: F401

import numpy as np
import torch
from fastreid.config import CfgNode
from fastreid.utils import comm
from torch import Tensor, nn
from torch.optim import Optimizer

from wrimnet.data.augmentation_list import build_augmentation
from wrimnet.data.batch_rows import take_rows
from wrimnet.engine.data_parallel import share_gradients
from wrimnet.engine.progress import gradient_norm
from wrimnet.modeling.network import CrossModalityNetwork

_logger = logging.getLogger("fastreid.wrimnet.console")


def setup_pytorch(cfg: CfgNode) -> None:
    """Seeds all generators; sets MODEL.DEVICE, determinism and the number formats of float32.

    Convolutions that stay in float32 may use TF32. Matrix products may not: with L2-normalized
    embeddings, TF32 could shift the exponents of CMKIC, z_i.z_a / tau, by 2^-10 / 0.07 = 0.014, and
    the products outside of bf16 are too small to matter for speed.
    """
    random.seed(cfg.SEED)
    np.random.seed(cfg.SEED % 2**32)
    torch.manual_seed(cfg.SEED)
    device = torch.device(cfg.MODEL.DEVICE)
    if device.index is not None:
        torch.cuda.set_device(device)  # where memory is pinned for, and statistics are read from
    torch.use_deterministic_algorithms(cfg.DETERMINISTIC)
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK and not cfg.DETERMINISTIC
    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("highest")


class CompiledTraining:
    """Context in which those functions of a model run as compiled code that it names itself.

    Shapes are static: one graph for the training batch. Outside of the context the model is as it
    was, so that evaluation with its many shapes, copies and checkpoints know nothing of it.
    """

    def __init__(
        self, model: CrossModalityNetwork, compiler: Callable[..., Any] = torch.compile
    ) -> None:
        self._functions, self._compiler = model.compiled_functions(), compiler
        self._compiled: list[tuple[nn.Module, str, Callable[..., Any]]] = []

    def __enter__(self) -> None:
        """Puts the compiled functions before those of the classes."""
        self._compiled = self._compiled or [
            (owner, name, self._compiler(getattr(owner, name), dynamic=False))
            for owner, name in self._functions
        ]
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


def build_acceleration(cfg: CfgNode, model: CrossModalityNetwork) -> AbstractContextManager[Any]:
    """Returns the context of the training's forward pass that SOLVER.COMPILE asks for.

    "auto" compiles on one GPU, where nothing asks for equal bits or for recomputing.
    """
    solver, on_gpu = cfg.SOLVER, torch.device(cfg.MODEL.DEVICE).type == "cuda"
    barred = cfg.DETERMINISTIC or solver.ACTIVATION_CHECKPOINTING or comm.get_world_size() > 1
    has_functions = bool(model.compiled_functions())
    if solver.COMPILE == "always" and not has_functions:
        raise ValueError(
            f"SOLVER.COMPILE is always, but {type(model).__name__} declares no modules to compile"
        )
    should_compile = {"auto": on_gpu and not barred, "always": True, "never": False}[solver.COMPILE]
    return CompiledTraining(model) if should_compile and has_functions else nullcontext()


def micro_batches(batch: dict[str, Any], num_parts: int) -> Iterator[dict[str, Any]]:
    """Yields the parts of a batch, for gradients that are accumulated over them.

    A batch of P identities with K images each and per modality becomes ``num_parts`` batches of
    P / num_parts identities, visible images first. A loss that compares images sees only those of
    its own part: fewer negatives, and easier hardest ones, than in the whole batch.
    """
    if num_parts == 1:
        yield batch
        return
    half = len(batch["modality"]) // 2
    size = half // num_parts
    for start in range(0, half, size):
        infrared = half + start
        yield take_rows(batch, slice(start, start + size), slice(infrared, infrared + size))


class TrainingStep:
    """Trains a model on a batch without waiting for the device.

    ``clip_gradients`` returns the norm before clipping; ``acceleration`` is a context of the
    forward pass; the gradient is the mean over ``num_parts``; ``network`` replaces the model.
    """

    def __init__(
        self,
        *,
        model: CrossModalityNetwork,
        optimizer: Optimizer,
        augmentation: Any,
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
        return self.augmentation.augment(batch)

    def accumulate(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Adds a part's share to the gradient; returns its losses."""
        losses = self.forward(batch)
        total: Any = sum(losses.values())
        (total / self.num_parts).backward()
        raw = {f"raw/{name}": value for name, value in self.model.raw_losses.items()}
        return {"total_loss": total, **losses, **raw, **self.model.statistics}

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Computes the weighted loss terms of augmented images."""
        with self.autocast, self.acceleration:
            return self.network(batch)

    def update(self) -> Tensor:
        """Clips the gradient if that is asked for, and steps; returns the norm before clipping."""
        norm = (self.clip_gradients or gradient_norm)(self.model.parameters())
        self.optimizer.step()
        return norm


class CompiledStep(TrainingStep):
    """Trains with compiled functions; without them if the compiler fails on the first batch."""

    _tried = False

    def accumulate(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Adds a part's share to the gradient; returns its losses."""
        compiles = isinstance(self.acceleration, CompiledTraining)
        if self._tried or not compiles or comm.get_world_size() > 1:
            return super().accumulate(batch)  # several processes would not repeat their exchanges
        self._tried = True
        before = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        _logger.info("compile  the step, which takes minutes; SOLVER.COMPILE never turns it off")
        try:
            return super().accumulate(batch)
        except Exception as error:  # of any kind; one that is not the compiler's comes again
            problem = compiler_said(error)
        self._give_up(problem, before)
        return super().accumulate(batch)

    def _give_up(self, problem: str, buffers: dict[str, Tensor]) -> None:
        often = "often a C++ compiler, or Triton for CUDA, is missing"
        _logger.warning("torch.compile failed; training continues eagerly (%s): %s", often, problem)
        self.acceleration = nullcontext()
        self.optimizer.zero_grad(set_to_none=True)
        for name, buffer in self.model.named_buffers():
            buffer.copy_(buffers[name])


def compiler_said(error: Exception) -> str:
    """Returns the kind and first line of what made torch.compile fail."""
    cause = getattr(error, "inner_exception", error)
    return f"{type(cause).__name__}: {cause}".splitlines()[0]


def _means(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each value over the parts of a batch."""
    if len(parts) == 1:
        return parts[0]
    return {name: torch.stack([part[name].detach() for part in parts]).mean() for name in parts[0]}


def build_training_step(
    cfg: CfgNode, model: CrossModalityNetwork, optimizer: Optimizer
) -> TrainingStep:
    """Builds the step of SOLVER.PRECISION, COMPILE, ACCUMULATION_STEPS and CLIP_GRADIENTS."""
    clip = cfg.SOLVER.CLIP_GRADIENTS
    acceleration = build_acceleration(cfg, model)
    kind = CompiledStep if isinstance(acceleration, CompiledTraining) else TrainingStep
    return kind(
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
        acceleration=acceleration,
        num_parts=cfg.SOLVER.ACCUMULATION_STEPS,
        network=share_gradients(model),
    )
