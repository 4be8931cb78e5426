"""One training run of a table: its folder, its record, and one attempt at it.

Nothing here imports torch: a job of a cluster starts in milliseconds and then starts the training.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from wrimnet.atomic_files import open_lock, try_lock
from wrimnet.lab.experiments.changed_sources import REPLACED, find_changed, set_aside
from wrimnet.run_folder import (
    CONSOLE,
    RECORD,
    TRACES,
    checkpoints,
    find_results,
    read_json,
    write_json,
)

SAVED = 75  # exit code of a training that a signal stopped after it had saved; a second one ends it
DONE, FAILED, STOPPED, ELSEWHERE = "done", "failed", "stopped", "running elsewhere"
WAITING, RUNNING, NEW = "waiting", "running", "not started"
LOCK_FILE = ".attempt.lock"  # the training itself locks its folder by another one
SECONDS_TO_STOP, POLL_SECONDS = 60.0, 0.1
_TAIL_BYTES = 4096


class ExperimentRun(NamedTuple):
    """One training run of a table."""

    name: str  # such as "s1_none/seed0"; its place below the folder of the table's runs
    folder: Path  # OUTPUT_DIR
    arguments: tuple[str, ...]  # command line of ``train_net.py``
    config: str  # hash of its configuration, which its results must have
    about: Mapping[str, Any]  # what the report needs to know of it
    test: Mapping[str, Any] = {}  # what it is tested on and how, for runs of one table


class State(NamedTuple):
    """The state of a run."""

    run: ExperimentRun
    kind: str  # DONE, FAILED, STOPPED, ELSEWHERE, WAITING, RUNNING or NEW
    reason: str = ""  # of a failure; how long a training took


def describe(state: State) -> str:
    """Writes "s1_none/seed0 failed: exit code 1: ..."."""
    name, kind, reason = state.run.name, state.kind, state.reason
    return f"{name} {kind}{': ' if kind == FAILED else ' ' * bool(reason)}{reason}"


def changed_files(run: ExperimentRun) -> list[str]:
    """Returns the files of plug-ins whose source has changed since the run was trained."""
    return find_changed(run.folder, run.about.get("plugins", ()))


def describe_changes(runs: Iterable[ExperimentRun]) -> list[str]:
    """Says which runs are trained again, one sentence for each set of changed files."""
    names: dict[tuple[str, ...], list[str]] = {}
    for run in runs:
        names.setdefault(tuple(changed_files(run)), []).append(run.name)
    return [
        f"the source of plug-ins, {', '.join(files)}, was changed, added or removed: "
        f"{', '.join(again)} {'is' if len(again) == 1 else 'are'} trained again; what was trained "
        f"before is kept in {REPLACED}1, {REPLACED}2, ... of each run's folder"
        for files, again in names.items()
        if files
    ]


def is_done(run: ExperimentRun) -> bool:
    """Whether the run has complete results of its configuration and of today's plug-ins.

    Raises:
        ValueError: as :func:`results_of_run`.
    """
    return results_of_run(run) is not None and not changed_files(run)


def results_of_run(run: ExperimentRun) -> dict[str, Any] | None:
    """Returns the results in the run's folder, None where there are none.

    Raises:
        ValueError: they, or a run that has begun, are of another configuration or start.
    """
    results = find_results(run.folder)
    if results is None:
        if resume_words(run):
            _check_start(run, {})
        return None
    config = results["description"]["config"]
    if config != run.config:
        raise ValueError(
            f"{run.folder} holds results of configuration {config}, this run has {run.config}: "
            "the settings have changed; restore them, or choose another --out"
        )
    _check_start(run, results["description"])
    return results


def _check_start(run: ExperimentRun, description: Mapping[str, Any]) -> None:
    """Refuses a run that started from other weights than the ones of now.

    What is compared are the weights; their files, where one of the two is not known any more.
    """
    record, key = read_record(run.folder), "MODEL.WEIGHTS"
    before, now = description.get("start") or record.get("start"), run.about.get("start")
    if None in (before, now):
        before, now = (of.get("settings", {}).get(key) for of in (record, run.about))
        before, now = (None if file is None else f"{key} {file!r}" for file in (before, now))
    if None not in (before, now) and before != now:
        raise ValueError(
            f"{run.folder} holds a run that started from {before}, this one starts from {now}; "
            "give the earlier file, or choose another --out"
        )


def read_record(folder: Path) -> dict[str, Any]:
    """Returns the record of a run, {} where there is none."""
    return read_json(folder / RECORD) or {}


def write_record(run: ExperimentRun, attempts: Sequence[Mapping[str, Any]]) -> None:
    """Writes what the run is and how long each attempt at it took."""
    write_json(run.folder / RECORD, {**run.about, "attempts": list(attempts)})


def resume_words(run: ExperimentRun) -> list[str]:
    """Returns ``--resume`` if an earlier attempt at the run has left something to go on from."""
    if changed_files(run):
        return []  # the run is set aside, see :func:`describe_changes`
    begun = checkpoints(run.folder) or any((run.folder / name).exists() for name in TRACES)
    return ["--resume"] if begun else []


class Attempt:
    """Trains a run from where it stopped, unless it is done or another process trains it.

    Calling it waits for the end. The training inherits the lock of the run's folder: the folder
    stays locked as long as the training lives, even if the process that started it was killed.
    """

    def __init__(
        self,
        run: ExperimentRun,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        afterwards: Sequence[str] = (),
    ) -> None:
        """Starts nothing. ``command`` trains; ``afterwards`` runs when a training has succeeded."""
        self.run, self.command, self.afterwards = run, tuple(command), tuple(afterwards)
        self.environment = dict(environment or {})
        self._pid, self._is_stopped = 0, False

    def __call__(self) -> State:
        """Trains; returns how it ended."""
        folder = self.run.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with open_lock(folder / LOCK_FILE) as lock:
                if not try_lock(lock):
                    return State(self.run, ELSEWHERE)
                return State(self.run, DONE) if is_done(self.run) else self._train(lock.fileno())
        except OSError as error:
            return State(self.run, FAILED, str(error))

    def stop(self) -> None:
        """Ends the training, by force if it does not save and end in time; from any thread."""
        self._is_stopped = True
        if self._pid:
            _end_process(self._pid)

    def checkpoint(self) -> Any:
        """Stops the training for submitit, which then queues the job again."""
        from submitit.helpers import DelayedSubmission

        self.stop()
        again = Attempt(self.run, self.command, self.environment, afterwards=self.afterwards)
        return DelayedSubmission(again)

    def _train(self, lock: int) -> State:
        if changed_files(self.run):
            set_aside(self.run.folder)
        earlier, began = read_record(self.run.folder).get("attempts", []), time.monotonic()
        resume = resume_words(self.run)  # before the log begins
        write_record(self.run, earlier)
        with (self.run.folder / CONSOLE).open("ab") as log:
            offset = log.tell()
            process = self._start([*self.command, *resume, *self.run.arguments], log, lock)
        try:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
        except BaseException:  # a signal ends this process, too
            self.stop()
            raise
        finally:
            code, self._pid = process.poll(), 0
            seconds = round(time.monotonic() - began, 1)
            write_record(self.run, [*earlier, {"seconds": seconds, "exit_code": code}])
        if code == 0 and is_done(self.run):
            self._finish()
            return State(self.run, DONE, f"in {timedelta(seconds=round(seconds))}")
        if code in (SAVED, -signal.SIGTERM) or self._is_stopped:
            return State(self.run, STOPPED)
        said = f"exit code {code}: {last_line(self.run.folder / CONSOLE, offset)}"
        return State(self.run, FAILED, said if code else _incomplete(self.run))

    def _start(self, words: Sequence[str], log: Any, lock: int) -> subprocess.Popen:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **self.environment},
            pass_fds=(lock,),
        )
        self._pid = process.pid
        if self._is_stopped:  # while it was starting
            self.stop()
        return process

    def _finish(self) -> None:
        for earlier_checkpoint in checkpoints(self.run.folder)[1:]:
            earlier_checkpoint.unlink()
        if self.afterwards:
            subprocess.run(self.afterwards, env={**os.environ, **self.environment}, check=False)


def _incomplete(run: ExperimentRun) -> str:
    """Says why a training that ended well is not done."""
    if changed := changed_files(run):
        return (
            f"the source of plug-ins, {', '.join(changed)}, changed meanwhile; run the same "
            "command again"
        )
    return "ended without complete results"


def _end_process(pid: int) -> None:
    """Sends SIGTERM, and SIGKILL if the process still lives a minute later."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        end = time.monotonic() + SECONDS_TO_STOP
        while not (has_ended := _has_ended(pid)) and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        if has_ended:
            return


def _has_ended(pid: int) -> bool:
    """Whether a child has ended, without reaping it: its Popen object may hold a lock."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def last_line(log: Path, offset: int = 0) -> str:
    """Returns the last line with words in it of a log, "" where there is none."""
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(offset, size - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
