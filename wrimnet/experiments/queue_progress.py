"""What the console shows of a queue of runs: what happens, how far it is, when it will be done."""

import datetime
import sys
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, TextIO

from wrimnet.experiments.runs import Run, read_record
from wrimnet.experiments.slots import Slot

if TYPE_CHECKING:
    from wrimnet.experiments.attempt import Attempt


class QueueProgress:
    """Prints a line per event, and between them one that says how far all runs are.

    Args:
        stream: where; standard error if not given.
        seconds: between two lines of progress where nobody watches; a terminal has one that is
            rewritten every second.
    """

    def __init__(self, stream: TextIO | None = None, seconds: float = 60.0) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._pause = 1.0 if self._terminal else seconds
        self._shown = time.monotonic()
        self._num_runs = self._num_done = self._num_failed = 0
        self._num_slots = 1
        self._durations: list[float] = []

    def begin(self, runs: Sequence[Run], done: Collection[str], num_slots: int) -> None:
        """Says how much there is to do; the durations of what is done feed the ETA."""
        self._num_runs, self._num_done, self._num_slots = len(runs), len(done), num_slots
        self._durations = [
            sum(attempt["seconds"] for attempt in attempts)
            for run in runs
            if run.name in done and (attempts := read_record(run.folder).get("attempts"))
        ]
        self._line(f"{len(runs)} runs, {len(done)} of them done already, {num_slots} at a time")

    def started(self, run: Run, slot: Slot) -> None:
        """A run has begun."""
        self._line(f"{run.name} starts on {slot.name}")

    def finished(self, run: Run, seconds: float) -> None:
        """A run is complete."""
        self._num_done += 1
        self._durations.append(seconds)
        self._line(f"{run.name} done in {_clock(seconds)}; {self._state()}")

    def failed(self, run: Run, reason: str) -> None:
        """A run did not complete."""
        self._num_failed += 1
        self._line(f"{run.name} FAILED: {reason}; {self._state()}")

    def show(self, active: Sequence["Attempt"]) -> None:
        """Prints progress and ETA if a line is due."""
        if time.monotonic() - self._shown < self._pause:
            return
        self._shown = time.monotonic()
        eta = self.eta([(attempt.seconds, attempt.fraction()) for attempt in active])
        when = "unknown" if eta is None else _clock(eta)
        text = f"{self._state()}, {len(active)} running, ETA {when}"
        if self._terminal:
            print(f"\r{text:<79}", end="", file=self._stream, flush=True)
        else:
            self._line(text)

    def eta(self, active: Sequence[tuple[float, float | None]]) -> float | None:
        """Estimates the seconds until every run has ended.

        Args:
            active: of each active run the seconds since its start and the part that is done.

        Returns:
            None as long as nothing says how long a run takes.
        """
        whole = [seconds / fraction for seconds, fraction in active if fraction]
        if not self._durations and not whole:
            return None
        known = self._durations or whole
        typical = sum(known) / len(known)
        left = [
            max(0.0, (seconds / fraction if fraction else typical) - seconds)
            for seconds, fraction in active
        ]
        num_waiting = self._num_runs - self._num_done - self._num_failed - len(active)
        return max([(num_waiting * typical + sum(left)) / self._num_slots, *left])

    def _state(self) -> str:
        failed = f", {self._num_failed} failed" if self._num_failed else ""
        return f"{self._num_done} of {self._num_runs} runs done{failed}"

    def _line(self, text: str) -> None:
        start = f"\r{'':<79}\r" if self._terminal else ""
        print(f"{start}{text}", file=self._stream, flush=True)


def _clock(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))
