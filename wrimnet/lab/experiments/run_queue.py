"""Works through a list of runs, several at a time, and survives those that fail."""

import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from types import FrameType
from typing import NamedTuple, NoReturn

from tqdm import tqdm

from wrimnet.atomic_files import open_lock, try_lock
from wrimnet.lab.experiments.plans import ExperimentRun, is_done, read_record, write_record
from wrimnet.run_folder import CONSOLE, TRACES, checkpoints

_console = logging.getLogger("fastreid.wrimnet.console")  # see wrimnet.console


class Slot(NamedTuple):
    """Room for one run; the environment variables bind it to its device and its threads."""

    name: str
    environment: Mapping[str, str]


_LOCK_FILE = ".attempt.lock"  # the run itself locks its folder by another one
_SECONDS_TO_STOP, _POLL_SECONDS = 20.0, 0.1
_TAIL_BYTES = 4096


class Failure(NamedTuple):
    """A run that did not complete, why, and where its log is."""

    run: ExperimentRun
    reason: str
    log: Path


class AlikeFailuresError(RuntimeError):
    """The first runs that ended failed for one reason, which the others would fail for, too."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__(f"the first {len(failures)} runs failed alike, the others are not tried")
        self.failures = list(failures)


def work_through_queue(
    runs: Sequence[ExperimentRun], *, command: Sequence[str], slots: Sequence[Slot]
) -> list[Failure]:
    """Runs what is not yet done by ``command``, one per slot at a time; returns what failed.

    An interruption ends the active runs, and so do failures that are alike. ValueError if two runs
    share a folder, or one holds results of another configuration.
    """
    folders = [run.folder for run in runs]
    twice = sorted({str(folder) for folder in folders if folders.count(folder) > 1})
    if twice:
        raise ValueError(f"two runs would share a folder: {', '.join(twice)}")
    waiting = [run for run in runs if not is_done(run)]
    for run in waiting:  # a report can then say what is missing
        write_record(run, read_record(run.folder).get("attempts", []))
    _console.info(
        f"{len(runs)} runs, {len(runs) - len(waiting)} of them done already, {len(slots)} at a time"
    )
    bar = tqdm(total=len(runs), initial=len(runs) - len(waiting), unit=" runs", disable=None)
    with bar, _termination_interrupts():
        return _work(waiting, tuple(command), slots, bar)


def _work(
    runs: Sequence[ExperimentRun], command: tuple[str, ...], slots: Sequence[Slot], bar: tqdm
) -> list[Failure]:
    free: SimpleQueue[Slot] = SimpleQueue()
    for slot in slots:
        free.put(slot)
    stopping, failures, num_ended = Event(), [], 0
    with ThreadPoolExecutor(len(slots)) as pool:
        attempts = {pool.submit(_attempt, run, free, command, stopping): run for run in runs}
        try:
            for ended in as_completed(attempts):
                run, reason = attempts[ended], ended.result()
                bar.update()
                if reason:
                    failures.append(Failure(run, reason, run.folder / CONSOLE))
                    _console.info(f"{run.name} failed")
                if _fail_alike(failures, num_ended := num_ended + 1):
                    raise AlikeFailuresError(failures)
        except BaseException:
            stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failures


def _attempt(
    run: ExperimentRun, free: "SimpleQueue[Slot]", command: tuple[str, ...], stopping: Event
) -> str | None:
    """Starts a run where it stopped and waits for its end; returns why it failed, or None.

    The process inherits the lock of its folder, so that the folder stays locked as long as it
    lives, even if the process that started it was killed.
    """
    slot = free.get()
    try:
        with open_lock(run.folder / _LOCK_FILE) as lock:
            if not try_lock(lock):
                return (
                    f"another process works in {run.folder}; let it end, or end it, and call again"
                )
            _console.info(f"{run.name} starts on {slot.name}")
            return _run_process(run, slot, command, lock.fileno(), stopping)
    except OSError as error:
        return str(error)
    finally:
        free.put(slot)


def _run_process(
    run: ExperimentRun, slot: Slot, command: tuple[str, ...], lock: int, stopping: Event
) -> str | None:
    earlier, began = read_record(run.folder).get("attempts", []), time.monotonic()
    begun = checkpoints(run.folder) or any((run.folder / name).exists() for name in TRACES)
    with (run.folder / CONSOLE).open("ab") as log:
        offset = log.tell()
        process = subprocess.Popen(
            [*command, *(["--resume"] if begun else []), *run.arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **slot.environment},
            pass_fds=(lock,),
        )
    while process.poll() is None and not stopping.wait(_POLL_SECONDS):
        pass
    code, seconds = _ended(process), time.monotonic() - began
    write_record(run, [*earlier, {"seconds": round(seconds, 1), "exit_code": code}])
    if code != 0:
        return f"exit code {code}: {last_line(run.folder / CONSOLE, offset)}"
    if not is_done(run):
        return "ended without complete results"
    for earlier_checkpoint in checkpoints(run.folder)[1:]:
        earlier_checkpoint.unlink()
    _console.info(f"{run.name} done in {timedelta(seconds=round(seconds))}")
    return None


def _fail_alike(failures: Sequence[Failure], num_ended: int) -> bool:
    """Whether nothing but two failures was seen, and both say the same but for their folders."""
    reasons = {f.reason.replace(str(f.run.folder), "").replace(f.run.name, "") for f in failures}
    return num_ended == len(failures) == 2 and len(reasons) == 1


def _ended(process: subprocess.Popen) -> int:
    """Ends a process, by force if it does not follow; returns its exit code."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(_SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def last_line(log: Path, offset: int = 0) -> str:
    """Returns the last line with words in it of a log, "" where there is none."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(offset, size - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


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
