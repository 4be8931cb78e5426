"""A progress line on stderr for work that takes minutes; silent where stderr is no terminal."""

import sys
import time
from types import TracebackType


class ProgressLine:
    """Counts up to a total, redrawn at most four times a second."""

    def __init__(self, what: str, total: int, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done = 0
        self._start = self._drawn = time.monotonic()

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if sys.stderr.isatty():
            self._draw()
            sys.stderr.write("\n")

    def advance(self, count: int) -> None:
        """Adds finished units."""
        self._done += count
        now = time.monotonic()
        if sys.stderr.isatty() and now - self._drawn > 0.25:
            self._drawn = now
            self._draw()

    def _draw(self) -> None:
        seconds = max(time.monotonic() - self._start, 1e-9)
        rate = self._done / seconds
        left = (self._total - self._done) / rate if rate else 0.0
        sys.stderr.write(
            f"\r{self._what} {self._done}/{self._total} {self._unit}, "
            f"{rate:.0f}/s, {left:.0f} s left \x1b[K"
        )
        sys.stderr.flush()
