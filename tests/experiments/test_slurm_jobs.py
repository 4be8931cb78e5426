"""Runs as submitit's jobs, by its executor for one machine and a stand-in for the training."""

import fcntl
import os
import pickle
import shutil
import signal
import subprocess
import sys

import pytest
from fake_runs import PROJECT, write_fake_train
from test_run_queue import calls, make_run, wait_for

from wrimnet.console import open_log
from wrimnet.lab.experiments import slurm_jobs
from wrimnet.lab.experiments.runs import (
    DONE,
    ELSEWHERE,
    FAILED,
    LOCK_FILE,
    NEW,
    RUNNING,
    Attempt,
    is_done,
    read_record,
)
from wrimnet.lab.experiments.slurm_jobs import Cluster, work_through_jobs
from wrimnet.lab.experiments.slurm_jobs import queued_jobs as read_queue

submitit = pytest.importorskip("submitit", reason="jobs are an optional extra")
THREADS = {"OMP_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def local_jobs(monkeypatch):
    """Jobs are processes of this machine; its queue is those that are alive."""
    open_log()
    processes = {}
    submit = submitit.LocalExecutor._submit_command

    def note(self, command):
        job = submit(self, command)
        processes[job.job_id] = job._process
        return job

    def alive():
        return {name: "RUNNING" for name, process in processes.items() if process.poll() is None}

    monkeypatch.setattr(submitit.LocalExecutor, "_submit_command", note)
    monkeypatch.setattr(submitit.LocalJob, "cancel", lambda self: processes[self.job_id].kill())
    monkeypatch.setattr(slurm_jobs, "CLUSTER", "local")
    monkeypatch.setattr(slurm_jobs, "queued_jobs", alive)
    monkeypatch.setattr(slurm_jobs, "POLL_SECONDS", 0.2)
    yield
    for process in processes.values():
        process.kill()
        process.wait()


def make_cluster(folder, *words):
    return Cluster(folder / "jobs", words, None)


def work(cluster, runs, command, *, wait=True, retry=True, afterwards=()):
    attempts = [Attempt(run, command, THREADS, afterwards=afterwards) for run in runs]
    states = work_through_jobs(attempts, cluster, wait=wait, retry=retry)
    return {state.run.name: state for state in states}


def kinds(states):
    return {name: state.kind for name, state in states.items()}


def test_jobs_train_once_and_measure_afterwards(tmp_path, capsys):
    command = write_fake_train(tmp_path / "tool")
    runs, cluster = [make_run(tmp_path, name) for name in ("a", "b")], make_cluster(tmp_path)
    states = work(cluster, runs, command, afterwards=("touch", str(tmp_path / "measured")))
    assert kinds(states) == {"a": DONE, "b": DONE}
    assert all(is_done(run) for run in runs) and (tmp_path / "measured").exists()
    assert kinds(work(cluster, runs, command)) == {"a": DONE, "b": DONE}
    assert [len(calls(run)) for run in runs] == [1, 1]
    assert calls(runs[0])[0]["threads"] == "1"
    assert "2 jobs submitted" in capsys.readouterr().out


def test_failure_has_its_reason_and_is_tried_again_if_asked_for(tmp_path):
    command = write_fake_train(tmp_path / "tool", fail=["/b"])
    runs, cluster = [make_run(tmp_path, name) for name in ("a", "b")], make_cluster(tmp_path)
    states = work(cluster, runs, command)
    assert kinds(states) == {"a": DONE, "b": FAILED}
    assert states["b"].reason == "exit code 1: out of luck"
    write_fake_train(tmp_path / "tool")
    again = {"wait": False, "retry": False}
    assert work(cluster, runs, command, **again)["b"].reason == "exit code 1: out of luck"
    assert len(calls(runs[1])) == 1
    assert kinds(work(cluster, runs, command)) == {"a": DONE, "b": DONE}


def test_timed_out_training_saves_and_goes_on(tmp_path):
    """Submitit's signal before the time limit: code 75, and the job is queued again."""
    command = write_fake_train(tmp_path / "tool", save=["/a"])
    run, cluster = make_run(tmp_path, "a"), make_cluster(tmp_path)
    assert kinds(work(cluster, [run], command, wait=False)) == {"a": RUNNING}
    wait_for((run.folder / "checkpoint_00000001.pth").exists)
    os.kill(calls(run)[0]["parent"], signal.SIGUSR2)
    assert kinds(work(cluster, [run], command)) == {"a": DONE}
    assert ["--resume" in call["words"] for call in calls(run)] == [False, True]
    assert [attempt["exit_code"] for attempt in read_record(run.folder)["attempts"]] == [75, 0]


def test_stopped_training_is_submitted_again(tmp_path):
    """The training alone got a signal, as by scancel --signal=TERM."""
    command = write_fake_train(tmp_path / "tool", save=["/a"])
    run, cluster = make_run(tmp_path, "a"), make_cluster(tmp_path)
    work(cluster, [run], command, wait=False)
    wait_for((run.folder / "checkpoint_00000001.pth").exists)
    os.kill(calls(run)[0]["pid"], signal.SIGTERM)
    assert kinds(work(cluster, [run], command)) == {"a": DONE}
    assert [attempt["exit_code"] for attempt in read_record(run.folder)["attempts"]] == [75, 0]


def test_cancelled_jobs_end_and_the_next_call_goes_on(tmp_path):
    command = write_fake_train(tmp_path / "tool", save=["/a"])
    runs, cluster = [make_run(tmp_path, "a")], make_cluster(tmp_path)
    work(cluster, runs, command, wait=False)
    wait_for((runs[0].folder / "checkpoint_00000001.pth").exists)
    pids = [calls(runs[0])[0][name] for name in ("parent", "pid")]
    assert cluster.cancel(runs) == 1
    for pid in pids:  # scancel ends every process of a job
        os.kill(pid, signal.SIGKILL)
    assert [state.kind for state in cluster.states(runs)] == [NEW]
    assert cluster.cancel(runs) == 0
    assert kinds(work(cluster, runs, command)) == {"a": DONE}
    assert ["--resume" in call["words"] for call in calls(runs[0])] == [False, True]


def test_job_that_died_names_its_log(tmp_path):
    command = write_fake_train(tmp_path / "tool", hang=["/a"])
    run, cluster = make_run(tmp_path, "a"), make_cluster(tmp_path)
    work(cluster, [run], command, wait=False)
    wait_for((run.folder / "checkpoint_00000001.pth").exists)
    for name in ("parent", "pid"):
        os.kill(calls(run)[0][name], signal.SIGKILL)
    wait_for(lambda: cluster.states([run])[0].kind == FAILED)
    (state,) = cluster.states([run])
    assert "ended without a result: submitit" in state.reason and "_log.out" in state.reason


def test_run_that_another_process_trains_is_running_elsewhere(tmp_path):
    command = write_fake_train(tmp_path / "tool")
    run, cluster = make_run(tmp_path, "a"), make_cluster(tmp_path)
    run.folder.mkdir()
    with (run.folder / LOCK_FILE).open("w") as lock:
        fcntl.flock(lock.fileno(), fcntl.LOCK_EX)
        assert kinds(work(cluster, [run], command)) == {"a": ELSEWHERE}
    assert kinds(work(cluster, [run], command)) == {"a": DONE}


def test_interrupted_attempt_ends_its_training(tmp_path):
    command = write_fake_train(tmp_path / "tool", hang=["/a"])
    run = make_run(tmp_path, "a")
    script = (  # SIGINT is ignored in what a script starts in the background
        "import pickle, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "pickle.load(open(sys.argv[1], 'rb'))()"
    )
    (tmp_path / "attempt").write_bytes(pickle.dumps(Attempt(run, command, THREADS)))
    words = [sys.executable, "-c", script, str(tmp_path / "attempt")]
    process = subprocess.Popen(words, cwd=PROJECT, stderr=subprocess.DEVNULL)
    wait_for((run.folder / "checkpoint_00000001.pth").exists)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    assert read_record(run.folder)["attempts"][0]["exit_code"] == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(calls(run)[0]["pid"], 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["partitoin=gpu"], "--slurm partitoin=gpu: expected timeout_min, mem_gb, .*partitoin"),
        (["timeout_min=soon"], "--slurm timeout_min=soon: expected timeout_min"),
        (["partition"], "--slurm partition: expected NAME=VALUE, such as partition=gpu"),
        (["nodes=2"], "--slurm nodes=2: a run is one job on one node; use gpus_per_node"),
    ],
)
def test_unknown_options_are_refused_and_nothing_is_written(tmp_path, words, message, monkeypatch):
    monkeypatch.setattr(slurm_jobs, "CLUSTER", "slurm")
    monkeypatch.setattr(shutil, "which", lambda name: f"bin/{name}")
    with pytest.raises(ValueError, match=message):
        make_cluster(tmp_path, *words)
    assert list(tmp_path.iterdir()) == []


def test_options_are_those_of_sbatch(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_jobs, "CLUSTER", "slurm")
    monkeypatch.setattr(shutil, "which", lambda name: f"bin/{name}")
    words = ("partition=gpu", "gpus_per_node=4", "cpus_per_task=16", "timeout_min=720")
    cluster = Cluster(tmp_path / "jobs", (*words, "setup=module load cuda"), 3)
    assert (cluster.uses_gpus, cluster.num_gpus, cluster.threads) == (True, 4, 4)
    text = cluster._executor._executor._make_submission_file_text("train", "x")
    for line in ("partition=gpu", "gpus-per-node=4", "cpus-per-task=16", "time=720", "requeue"):
        assert f"#SBATCH --{line}" in text
    assert "module load cuda" in text and "signal=USR2@90" in text
    assert cluster._executor._executor.parameters["array_parallelism"] == 3
    assert not make_cluster(tmp_path, "partition=cpu").uses_gpus


def test_without_slurm_or_submitit_a_sentence_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_jobs, "CLUSTER", "slurm")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="sbatch was not found; run this on a login node"):
        make_cluster(tmp_path)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ValueError, match=r"--slurm needs submitit: pip install -e '.\[slurm\]'"):
        make_cluster(tmp_path)


def test_slurm_that_does_not_answer_is_an_error_before_anything_is_written(tmp_path, monkeypatch):
    def fail():
        raise OSError("squeue failed: slurmctld is away; run the same command again")

    monkeypatch.setattr(slurm_jobs, "CLUSTER", "slurm")
    monkeypatch.setattr(shutil, "which", lambda name: f"bin/{name}")
    monkeypatch.setattr(slurm_jobs, "queued_jobs", fail)
    with pytest.raises(OSError, match="slurmctld is away"):
        make_cluster(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_queue_is_read_from_squeue(monkeypatch):
    answers = [
        subprocess.CompletedProcess([], 0, "12_0 RUNNING\n12_1 PENDING\n13 COMPLETING\n", "")
    ]
    answers.append(subprocess.CompletedProcess([], 1, "", "slurmctld is away\n"))
    monkeypatch.setattr(subprocess, "run", lambda *words, **options: answers.pop(0))
    assert read_queue() == {"12_0": "RUNNING", "12_1": "PENDING", "13": "COMPLETING"}
    with pytest.raises(
        OSError, match="squeue failed: slurmctld is away; run the same command again"
    ):
        read_queue()
