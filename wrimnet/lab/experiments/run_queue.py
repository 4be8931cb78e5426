"""Works through runs on this machine, several at a time, and survives those that fail."""

import logging
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType
from typing import NamedTuple, NoReturn

from tqdm import tqdm

from wrimnet.lab.experiments.runs import (
    DONE,
    FAILED,
    Attempt,
    ExperimentRun,
    State,
    describe,
    is_done,
)

_console = logging.getLogger("fastreid.wrimnet.console")  # see wrimnet.console


class Slot(NamedTuple):
    """Room for one run; the environment variables bind it to its device and its threads."""

    name: str
    environment: Mapping[str, str]


def work_through_queue(
    runs: Sequence[ExperimentRun], *, command: Sequence[str], slots: Sequence[Slot]
) -> list[State]:
    """Trains what is not yet done by ``command``, one run per slot at a time.

    An interruption ends the active runs, and so do failures that are alike.

    Returns:
        The runs that are not done: they failed, were stopped, or another process trains them.
    """
    waiting = [run for run in runs if not is_done(run)]
    num_done = len(runs) - len(waiting)
    _console.info(f"{len(runs)} runs, {num_done} of them done already, {len(slots)} at a time")
    bar = tqdm(total=len(runs), initial=num_done, unit=" runs", disable=None)
    with bar, _termination_interrupts():
        return _work([Attempt(run, command) for run in waiting], slots, bar)


def _work(attempts: Sequence[Attempt], slots: Sequence[Slot], bar: tqdm) -> list[State]:
    free: SimpleQueue[Slot] = SimpleQueue()
    for slot in slots:
        free.put(slot)
    ended: list[State] = []
    with ThreadPoolExecutor(len(slots)) as pool:
        futures = [pool.submit(_attempt_in_slot, one, free) for one in attempts]
        try:
            for future in as_completed(futures):
                ended.append(future.result())
                bar.update()
                _console.info(describe(ended[-1]))
                if _fail_alike(ended):
                    _console.info(
                        "the first 2 runs failed for the same reason; no more are started"
                    )
                    break
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            _stop(attempts)
    return [one for one in ended if one.kind != DONE]


def _attempt_in_slot(attempt: Attempt, free: "SimpleQueue[Slot]") -> State:
    slot = free.get()
    try:
        _console.info(f"{attempt.run.name} starts on {slot.name}")
        attempt.environment = dict(slot.environment)
        return attempt()
    finally:
        free.put(slot)


def _stop(attempts: Sequence[Attempt]) -> None:
    with ThreadPoolExecutor(max(1, len(attempts))) as pool:
        list(pool.map(Attempt.stop, attempts))


def _fail_alike(ended: Sequence[State]) -> bool:
    """Whether nothing but two failures was seen, and both say the same but for their folders."""
    if len(ended) != 2 or any(one.kind != FAILED for one in ended):
        return False
    said = {one.reason.replace(str(one.run.folder), "").replace(one.run.name, "") for one in ended}
    return len(said) == 1


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Makes SIGTERM end the work as Ctrl-C does, active runs included."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
