"""Works through a list of runs, several at a time, and survives those that fail."""

import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn

from wrimnet.experiments.attempt import Attempt, RunIsBusyError
from wrimnet.experiments.queue_progress import QueueProgress
from wrimnet.experiments.runs import CONSOLE_LOG, Run, is_done, read_record, write_record
from wrimnet.experiments.slots import Slot

_POLL_SECONDS = 0.1


class Failure(NamedTuple):
    """A run that did not complete, why, and where its log is."""

    run: Run
    reason: str
    log: Path


class RunQueue:
    """Runs what is not yet done.

    Args:
        runs: in the order in which they start.
        command: interpreter and ``train_net.py``.
        slots: places for the runs that run at once.
        progress: is told what happens.

    Raises:
        ValueError: two runs share a folder, or a folder holds results of another configuration.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        *,
        command: Sequence[str],
        slots: Sequence[Slot],
        progress: QueueProgress,
    ) -> None:
        _check_folders(runs)
        self._command, self._progress = tuple(command), progress
        self._free, self._active = deque(slots), []
        self._failures: list[Failure] = []
        done = {run.name for run in runs if is_done(run)}
        self._waiting = deque(run for run in runs if run.name not in done)
        for run in self._waiting:  # a report can then say what is missing
            write_record(run, read_record(run.folder).get("attempts", []))
        progress.begin(runs, done, len(slots))

    def work(self) -> list[Failure]:
        """Runs everything; returns the runs that failed. An interruption ends the active ones."""
        try:
            with _termination_interrupts():
                while self._waiting or self._active:
                    self._start()
                    self._collect()
                    self._progress.show(self._active)
                    time.sleep(_POLL_SECONDS)
        finally:
            for attempt in self._active:
                attempt.stop()
        return self._failures

    def _start(self) -> None:
        while self._waiting and self._free:
            run, slot = self._waiting.popleft(), self._free.popleft()
            try:
                self._active.append(Attempt(run, slot, self._command))
            except (RunIsBusyError, OSError) as error:
                self._free.append(slot)
                self._fail(run, str(error))
            else:
                self._progress.started(run, slot)

    def _collect(self) -> None:
        for attempt in [attempt for attempt in self._active if attempt.poll()]:
            self._active.remove(attempt)
            self._free.append(attempt.slot)
            reason = attempt.close()
            if reason is not None:
                self._fail(attempt.run, reason)
            else:
                self._progress.finished(attempt.run, attempt.seconds)

    def _fail(self, run: Run, reason: str) -> None:
        self._failures.append(Failure(run, reason, run.folder / CONSOLE_LOG))
        self._progress.failed(run, reason)


def _check_folders(runs: Sequence[Run]) -> None:
    folders = [run.folder for run in runs]
    twice = sorted({str(folder) for folder in folders if folders.count(folder) > 1})
    if twice:
        raise ValueError(f"two runs would share a folder: {', '.join(twice)}")


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
