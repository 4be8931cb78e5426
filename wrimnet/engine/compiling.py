"""SOLVER.COMPILE auto: the step is measured with and without the compiler, the faster one is kept.

All measured steps train on the first batch before training begins, and are undone: the numbers of
the training depend on which of the two is kept and on nothing else of the measurement.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import wrimnet.compat  # noqa: F401

import torch
from torch import nn
from torch.optim import Optimizer

from wrimnet.engine.step import CompiledTraining, TrainingStep

NUM_STEPS, WARM_UP = 20, 3

_console = logging.getLogger("fastreid.wrimnet.console")  # see wrimnet.console


def measure_compiling(step: TrainingStep, batch: dict[str, Any]) -> dict[str, Any]:
    """Times both forms of the step, lets the step go on in the faster one, and prints which.

    Returns {"compiled": bool, "eager_ms": float, "compiled_ms": float}, mean milliseconds of a
    step; "compiled_ms" is None if the compiler fails.
    """
    compiling = step.acceleration
    with undone(step.model, step.optimizer):
        step.acceleration = nullcontext()
        eager = _milliseconds(step, batch)
        step.acceleration = compiling
        compiled: float | None = _milliseconds(step, batch)
    if step.acceleration is not compiling:  # the first compiled step has failed
        compiled = None
    if compiled is None or compiled >= eager:
        step.acceleration = nullcontext()
    choice = {**describe_compiling(step), "eager_ms": eager, "compiled_ms": compiled}
    measured = "not" if compiled is None else f"{compiled:.1f}"
    _console.info(
        f"compile  {eager:.1f} ms per step eager, {measured} compiled (mean of {NUM_STEPS}): "
        f"training runs {'compiled' if choice['compiled'] else 'eager'}"
    )
    return choice


def describe_compiling(step: TrainingStep) -> dict[str, Any]:
    """Returns whether the step is compiled, as checkpoints and results have it."""
    return {"compiled": isinstance(step.acceleration, CompiledTraining)}


def keep_choice(step: TrainingStep, choice: dict[str, Any]) -> None:
    """Lets a resumed training go on in the form that was kept before its first iteration.

    ``choice`` has no times where SOLVER.COMPILE decided: then it still does.
    """
    if "eager_ms" in choice and not choice["compiled"]:
        step.acceleration = nullcontext()


@contextmanager
def undone(model: nn.Module, optimizer: Optimizer) -> Iterator[None]:
    """Undoes, at its end, all that training steps change before a training begins."""
    assert not optimizer.state
    before = {name: value.clone() for name, value in model.state_dict().items()}
    devices = [*range(torch.cuda.device_count())]
    with torch.random.fork_rng(devices):
        yield
    model.load_state_dict(before)
    optimizer.zero_grad(set_to_none=True)
    optimizer.state.clear()


def _milliseconds(step: TrainingStep, batch: dict[str, Any]) -> float:
    """Mean time of a step, after the warm-up."""
    for _ in range(WARM_UP):
        step(batch)
    began = _now()
    for _ in range(NUM_STEPS):
        step(batch)
    return 1000 * (_now() - began) / NUM_STEPS


def _now() -> float:
    """Seconds, once the device has done what it was asked for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
