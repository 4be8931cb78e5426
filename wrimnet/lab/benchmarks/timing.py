"""Clocks: of the device on CUDA, of the CPU's work elsewhere."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


def clock_name(device: torch.device) -> str:
    """Says what :func:`seconds_of` measures."""
    if device.type == "cuda":
        return "wall clock, the device waited for"
    return "CPU seconds of one thread, which hold on a machine that is busy with other things too"


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    """Runs a function once; returns how long it took by the device's clock."""
    if device.type != "cuda":
        started = time.process_time()
        run()
        return time.process_time() - started
    torch.cuda.synchronize(device)
    started = time.perf_counter()
    run()
    torch.cuda.synchronize(device)
    return time.perf_counter() - started


class StageClock:
    """Times the stages of a step without making the host wait between them.

    Args:
        device: whose work is timed; on CUDA by events on its stream.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_cuda = device.type == "cuda"
        self._open: dict[str, torch.cuda.Event | float] = {}
        self._spans: dict[str, list[tuple]] = defaultdict(list)

    def start(self, stage: str) -> None:
        """Begins a stage."""
        self._open[stage] = self._now()

    def stop(self, stage: str) -> None:
        """Ends a stage."""
        self._spans[stage].append((self._open.pop(stage), self._now()))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times the body as one stage."""
        self.start(name)
        yield
        self.stop(name)

    def clear(self) -> None:
        """Forgets what was timed so far, such as a warm-up."""
        self._spans.clear()

    def milliseconds(self) -> dict[str, list[float]]:
        """Returns one value per step for each stage, in the order of their first end."""
        if not self._on_cuda:
            return {
                name: [1e3 * (end - begin) for begin, end in spans]
                for name, spans in self._spans.items()
            }
        torch.cuda.synchronize()
        return {
            name: [begin.elapsed_time(end) for begin, end in spans]
            for name, spans in self._spans.items()
        }

    def _now(self) -> torch.cuda.Event | float:
        if not self._on_cuda:
            return time.thread_time()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps the CPU's work in one thread; what a GPU does is not touched by it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
