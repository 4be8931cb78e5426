"""A progress line for long work on a terminal, and sparse lines elsewhere."""

import sys
import time


class Progress:
    """Prints how many of `total` steps are done, with speed and remaining time, to stderr.

    On a terminal one line is rewritten; in a log file a new line appears every 10 seconds.

    Args:
        label: What is being done.
        total: Number of steps.
    """

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.done = label, total, 0
        self._terminal = sys.stderr.isatty()
        self._begin = self._printed = time.monotonic()

    def advance(self) -> None:
        """Counts one step."""
        self.done += 1
        pause = 0.2 if self._terminal else 10.0
        if self.done == self.total or time.monotonic() - self._printed > pause:
            self._print()

    def _print(self) -> None:
        self._printed = time.monotonic()
        speed = self.done / max(self._printed - self._begin, 1e-9)
        remaining = (self.total - self.done) / speed
        bar = "#" * (20 * self.done // self.total)
        text = (
            f"{self.label} [{bar:<20}] {self.done}/{self.total}, {speed:.0f}/s, {remaining:.0f} s"
        )
        start, end = ("\r", "") if self._terminal and self.done < self.total else ("", "\n")
        start = "\r" if self._terminal else start
        print(f"{start}{text:<79}", end=end, file=sys.stderr, flush=True)
