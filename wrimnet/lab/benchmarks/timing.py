"""Seconds of a function, and of the stages of a training step."""

import time
import timeit
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.benchmark import timer


def device_clock(device: torch.device) -> Callable[[], float]:
    """Returns the clock of a device's work.

    On CUDA it is wall time, read when the device has finished; elsewhere CPU time of this process,
    which other programs on the machine disturb less.
    """
    return timer if device.type == "cuda" else time.process_time


def clock_name(device: torch.device) -> str:
    """Says what :func:`device_clock` measures."""
    return "wall time" if device.type == "cuda" else "CPU time of one thread"


def seconds_of(
    run: Callable[[], object], clock: Callable[[], float], *, repeats: int, steps: int
) -> list[float]:
    """Returns seconds per call, each value the mean over ``steps`` calls, after one to warm up."""
    run()
    return [
        total / steps for total in timeit.repeat(run, timer=clock, repeat=repeats, number=steps)
    ]


class StageClock:
    """Times stages without making the host wait: by events on CUDA, else by the thread's CPU time.

    Args:
        device: whose work is timed.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_cuda = device.type == "cuda"
        self._open: dict[str, Any] = {}
        self._spans: dict[str, list[tuple]] = defaultdict(list)

    def start(self, stage: str) -> None:
        """Begins a stage."""
        self._open[stage] = self._now()

    def stop(self, stage: str) -> None:
        """Ends a stage."""
        self._spans[stage].append((self._open.pop(stage), self._now()))

    def watch(self, stage: str, module: nn.Module) -> None:
        """Times the forward passes of a module from now on."""
        module.register_forward_pre_hook(lambda *_: self.start(stage))
        module.register_forward_hook(lambda *_: self.stop(stage))

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a function that does the same and is timed."""

        def run(*arguments: Any) -> Any:
            self.start(stage)
            result = function(*arguments)
            self.stop(stage)
            return result

        return run

    def seconds(self) -> dict[str, float]:
        """Returns the sum for each stage, in the order of their first end."""
        if not self._on_cuda:
            return {name: sum(b - a for a, b in spans) for name, spans in self._spans.items()}
        torch.cuda.synchronize()
        return {
            name: sum(a.elapsed_time(b) for a, b in spans) / 1e3
            for name, spans in self._spans.items()
        }

    def _now(self) -> Any:
        if not self._on_cuda:
            return time.thread_time()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
