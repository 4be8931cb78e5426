"""Signals that stop a training after the iteration under way."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: failed for now, try again
TOGETHER_SECONDS = 1.0  # signals that come within are one request
SIGNALS = (signal.SIGTERM, signal.SIGINT)

_logger = logging.getLogger("fastreid.wrimnet.signals")


class StopRequest:
    """Turns the first SIGTERM or SIGINT into a request, inside its ``with`` block.

    Outside :meth:`deferred` there is nothing to save, and the first signal ends the program with
    exit code 75. Inside, it is noted in ``requested`` and the program goes on until it asks. In
    both cases that signal gets its default action back, so that the second one ends the process at
    once, whatever it is doing; so does the other signal a second later, while one that comes with
    the first, from whoever sends SIGINT and SIGTERM, is the same request. Among several processes,
    where whoever started them may send each signal twice, the second one is ignored; torchrun ends
    by force what has not ended 30 s later.

    Python lets only the main thread handle signals: in another thread nothing is changed, and
    signals go where they went before.

    Args:
        num_processes: that stop together.

    Attributes:
        requested: name of the signal that came, or "".
    """

    def __init__(self, num_processes: int = 1) -> None:
        self.requested = ""
        self._second = signal.SIG_DFL if num_processes == 1 else signal.SIG_IGN
        self._deferred, self._came = False, 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        else:
            _logger.info("not in the main thread: signals do not stop this training")
        return self

    def __exit__(self, *_: object) -> None:
        for number, action in self._before.items():
            signal.signal(number, action)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Lets a signal wait until :meth:`stop` is called."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def stop(self, advice: str) -> None:
        """Ends the program with exit code 75."""
        by = self.requested or "a signal to another process"
        _logger.warning("stopped by %s: %s; exit code %d", by, advice, EXIT_CODE)
        raise SystemExit(EXIT_CODE)

    def _receive(self, number: int, _: FrameType | None) -> None:
        signal.signal(number, self._second)
        if self.requested:
            if time.monotonic() - self._came > TOGETHER_SECONDS:
                os.kill(os.getpid(), number)
            return
        self._came = time.monotonic()
        self.requested = signal.Signals(number).name
        if not self._deferred:
            self.stop("nothing was trained yet, nothing had to be saved")
        _logger.warning(
            "%s: saving at the end of this iteration; a second signal %s",
            self.requested,
            "ends the run at once" if self._second is signal.SIG_DFL else "changes nothing",
        )
