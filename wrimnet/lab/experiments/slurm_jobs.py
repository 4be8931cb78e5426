"""Runs as jobs of a Slurm cluster, one job each, by submitit."""

import getpass
import logging
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wrimnet.lab.experiments.runs import (
    DONE,
    ELSEWHERE,
    FAILED,
    NEW,
    RUNNING,
    STOPPED,
    WAITING,
    Attempt,
    ExperimentRun,
    State,
    changed_files,
    describe,
    is_done,
    last_line,
)
from wrimnet.run_folder import JOB, read_json, write_json

_console = logging.getLogger("fastreid.wrimnet.console")  # see wrimnet.console

CLUSTER = "slurm"  # of submitit's executors
POLL_SECONDS = 15.0
_MOST_TIMEOUTS = 100
_SHARED = ("timeout_min", "mem_gb", "cpus_per_task", "gpus_per_node", "name")  # by submitit
_LISTS = ("setup", "teardown", "srun_args")
_ONE_TASK = ("nodes", "tasks_per_node", "ntasks_per_node")


class Cluster:
    """Submits runs, says where they stand, ends them."""

    def __init__(self, folder: Path, words: Sequence[str], max_jobs: int | None) -> None:
        """Checks the options; nothing is written.

        Args:
            folder: gets the files of the jobs; every node sees it.
            words: NAME=VALUE options of submitit or of sbatch.
            max_jobs: how many jobs run at once; None for as many as the cluster lets.

        Raises:
            ValueError: there is no submitit or no Slurm, or an option is unknown.
            OSError: Slurm does not answer.
        """
        submitit = _import_submitit()
        options = dict(map(_option, words))
        named = {k if k in _SHARED else f"slurm_{k}": value for k, value in options.items()}
        named |= {"slurm_array_parallelism": max_jobs, "slurm_stderr_to_stdout": True}
        named["slurm_additional_parameters"] = {"requeue": True}
        self._folder, self._job = folder, getattr(submitit, f"{CLUSTER.capitalize()}Job")
        self._executor = submitit.AutoExecutor(
            folder, cluster=CLUSTER, slurm_max_num_timeout=_MOST_TIMEOUTS
        )
        try:
            self._executor.update_parameters(**{"name": "wrimnet", **named})
        except (NameError, AssertionError, ValueError) as error:
            raise ValueError(
                f"--slurm {' '.join(words)}: expected {', '.join(_SHARED)} or an option of sbatch "
                f"such as partition, account, qos, gres; {str(error).splitlines()[0]}"
            ) from error
        self.uses_gpus = any(name.startswith(("gpus_per", "gres")) for name in options)
        self.num_gpus = int(options.get("gpus_per_node", 1))
        self.threads = max(1, int(options.get("cpus_per_task", 1)) // max(1, self.num_gpus))
        queued_jobs()  # before anything is written

    def submit(self, attempts: Sequence[Attempt]) -> None:
        """Submits a job for each and notes it in the run's folder."""
        for attempt, job in zip(attempts, self._executor.submit_array(attempts), strict=True):
            attempt.run.folder.mkdir(parents=True, exist_ok=True)
            write_json(attempt.run.folder / JOB, {"id": job.job_id})
        _console.info(f"{len(attempts)} jobs submitted; their logs are in {self._folder}")

    def states(self, runs: Sequence[ExperimentRun]) -> list[State]:
        """Returns the state of each run."""
        queued = queued_jobs()
        if self._folder.exists():  # makes a network file system read it again
            self._folder.chmod(self._folder.stat().st_mode)
        return [self._state(run, queued) for run in runs]

    def _state(self, run: ExperimentRun, queued: dict[str, str]) -> State:
        job_id = (read_json(run.folder / JOB) or {}).get("id")
        if job_id in queued:  # with results it may still measure costs
            return State(run, WAITING if queued[job_id] == "PENDING" else RUNNING)
        if job_id is None or is_done(run) or changed_files(run):
            return State(run, DONE if is_done(run) else NEW)
        job = self._job(self._folder, job_id)
        if job.paths.result_pickle.exists() and job.exception() is None:
            return job.result()
        log = job.paths.stdout
        reason = f"job {job_id} ended without a result: {last_line(log)} (in {log})"
        return State(run, FAILED, reason)

    def cancel(self, runs: Sequence[ExperimentRun]) -> int:
        """Ends the jobs of some runs; returns how many."""
        alive = [s.run for s in self.states(runs) if s.kind in (WAITING, RUNNING)]
        for run in alive:
            self._job(self._folder, read_json(run.folder / JOB)["id"]).cancel()
            (run.folder / JOB).unlink()
        return len(alive)


def _option(word: str) -> tuple[str, Any]:
    name, is_pair, value = word.partition("=")
    if not is_pair or not value:
        raise ValueError(f"--slurm {word}: expected NAME=VALUE, such as partition=gpu")
    if name in _ONE_TASK:
        raise ValueError(f"--slurm {word}: a run is one job on one node; use gpus_per_node")
    return name, [value] if name in _LISTS else int(value) if value.isdigit() else value


def _import_submitit() -> Any:
    try:
        import submitit
    except ImportError:
        raise ValueError("--slurm needs submitit: pip install -e '.[slurm]'") from None
    if CLUSTER == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
        raise ValueError(
            "--slurm: sbatch was not found; run this on a login node of the cluster, or leave "
            "out --slurm to train on this machine"
        )
    return submitit


def queued_jobs() -> dict[str, str]:
    """Returns the state of each job of this user that waits or runs, by its number."""
    words = ["squeue", "--noheader", "--array", "--format=%i %T", f"--user={getpass.getuser()}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"squeue failed: {done.stderr.strip()}; run the same command again")
    return dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.strip())


def work_through_jobs(
    attempts: Sequence[Attempt], cluster: Cluster, *, wait: bool, retry: bool
) -> list[State]:
    """Submits what is not done, waits for the end if asked to; returns the state of each run.

    What was stopped after it had saved is submitted again; with ``retry`` what has failed, too.
    """
    runs, reported_kinds = [attempt.run for attempt in attempts], dict[str, str]()
    submitted_kinds = {NEW, STOPPED, ELSEWHERE, *([FAILED] if retry else [])}
    while True:
        states = cluster.states(runs)
        due = [
            one
            for one, state in zip(attempts, states, strict=True)
            if state.kind in submitted_kinds
        ]
        submitted_kinds = {STOPPED}
        if due:
            cluster.submit(due)
            states = cluster.states(runs)
        for state in states:
            if reported_kinds.get(state.run.name) != state.kind and state.kind != WAITING:
                _console.info(describe(state))
            reported_kinds[state.run.name] = state.kind
        if not wait or not any(state.kind in (WAITING, RUNNING) for state in states):
            counts = Counter(state.kind for state in states)
            _console.info(", ".join(f"{number} {kind}" for kind, number in counts.items()))
            return states
        time.sleep(POLL_SECONDS)
