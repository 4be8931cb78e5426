"""One attempt at a run: a process of ``train_net.py``, its log and its lock."""

import fcntl
import os
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from wrimnet.experiments.runs import (
    CONSOLE_LOG,
    Run,
    has_checkpoint,
    is_done,
    read_record,
    write_record,
)
from wrimnet.experiments.slots import Slot

_LOCK_FILE = ".lock"
_SECONDS_TO_STOP = 20.0
_ITERATION = re.compile(rb"iter (\d+)/(\d+)")
_TAIL_BYTES = 4096


class RunIsBusyError(ValueError):
    """Another process works in the run's folder."""


class Attempt:
    """Starts a run where it stopped and watches it.

    The process inherits the lock of its folder, so that the folder stays locked as long as it
    lives, even if the process that started it was killed.

    Args:
        run: what to run.
        slot: where.
        command: words before the run's own arguments: interpreter and train_net.py.

    Raises:
        RunIsBusyError: another process works in the folder.
    """

    def __init__(self, run: Run, slot: Slot, command: Sequence[str]) -> None:
        self.run, self.slot = run, slot
        self.log = run.folder / CONSOLE_LOG
        self._earlier = read_record(run.folder).get("attempts", [])
        write_record(run, self._earlier)
        self._lock = _take_lock(run)
        self._began = time.monotonic()
        resume = ["--resume"] if has_checkpoint(run) else []
        with self.log.open("ab") as log:
            self._offset = log.tell()
            self._process = subprocess.Popen(
                [*command, *resume, *run.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **slot.environment},
                pass_fds=(self._lock.fileno(),),
            )

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._began

    def fraction(self) -> float | None:
        """The part of the run's iterations that is done, from its log; None before any line."""
        matches = _ITERATION.findall(_tail(self.log, self._offset))
        return int(matches[-1][0]) / max(1, int(matches[-1][1])) if matches else None

    def poll(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    def close(self) -> str | None:
        """Records an ended attempt; returns why it failed, or None for a complete run."""
        code = self._process.returncode
        write_record(
            self.run, [*self._earlier, {"seconds": round(self.seconds, 1), "exit_code": code}]
        )
        self._lock.close()
        if code != 0:
            return f"exit code {code}: {last_line(self.log, self._offset)}"
        if not is_done(self.run):
            return "ended without complete results"
        return None

    def stop(self) -> None:
        """Ends the process, by force if it does not follow, and records the attempt."""
        self._process.terminate()
        try:
            self._process.wait(_SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.close()


def last_line(log: Path, offset: int = 0) -> str:
    """Returns the last line with words in it of a log, "" where there is none."""
    lines = _tail(log, offset).decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _tail(log: Path, offset: int) -> bytes:
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(offset, size - _TAIL_BYTES))
        return file.read()


def _take_lock(run: Run) -> IO[str]:
    lock = (run.folder / _LOCK_FILE).open("w", encoding="utf-8")
    try:
        fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise RunIsBusyError(
            f"another process works in {run.folder}; let it end, or end it, and call again"
        ) from None
    return lock
