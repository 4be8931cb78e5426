"""Whole runs under torchrun: a process that fails, restarts, another number of processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny_runs import CONFIG_FILE, ROOT, losses_of, tiny_cfg, words

from wrimnet.engine.run import train

pytestmark = pytest.mark.slow
SMALL = {"SOLVER__IMS_PER_BATCH": "16", "SOLVER__BASE_LR": "0.0001"}
FAILING = ROOT / "tests" / "distributed" / "failing_train.py"
TRAIN = ROOT / "tools" / "train_net.py"
ENDS_WITHIN_SECONDS = 60
PATIENCE_SECONDS = 900  # a busy machine; an idle one needs 15 seconds


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """Two processes, four iterations, a checkpoint after every second."""
    output = tmp_path_factory.mktemp("runs") / "undisturbed"
    ended = torchrun(data, output)
    assert ended.returncode == 0, ended.stdout
    return output


def torchrun(data, output, *options, program=TRAIN, resume=False, **environ):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node=2", *options, str(program), "--config-file", CONFIG_FILE]
    command += ["--no-report", *(["--resume"] if resume else []), *words(data, output, **SMALL)]
    return subprocess.run(
        command,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environ,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


def weights_of(output: Path):
    return torch.load(output / "model_final.pth", weights_only=True)["model"]


def assert_same_end(output, expected):
    """The same losses in the log and the same final weights, to the last bit."""
    assert losses_of(output) == losses_of(expected)
    found, wanted = weights_of(output), weights_of(expected)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def assert_near_end(output, expected):
    found, wanted = losses_of(output), losses_of(expected)
    assert len(found) == len(wanted) == 4
    for of_line, wanted_of_line in zip(found, wanted, strict=True):
        assert of_line == pytest.approx(wanted_of_line, rel=2e-2)


def test_only_the_main_process_writes(undisturbed):
    names = {path.name for path in undisturbed.iterdir()}
    assert {"log.txt", "metrics.jsonl", "model_final.pth", "results.json"} <= names
    assert not [name for name in names if "rank" in name or name.endswith(".tmp")]
    assert sum(name.startswith("events") for name in names) == 1
    assert len(losses_of(undisturbed)) == 4
    assert not any(name.startswith("module.") for name in weights_of(undisturbed))


def test_killed_process_ends_the_others_and_a_single_one_goes_on(data, undisturbed, tmp_path):
    output = tmp_path / "out"
    ended = torchrun(data, output, program=FAILING, FAIL="1 2 killed")
    seconds = time.time() - (output / "last_checkpoint").stat().st_mtime
    assert ended.returncode != 0
    assert seconds < ENDS_WITHIN_SECONDS + 0.5 * PATIENCE_SECONDS * (os.getloadavg()[0] > 3)
    assert "rank      : 1" in ended.stdout and "SIGKILL" in ended.stdout
    assert "rank 0 of 2 failed: RuntimeError" in (output / "log.txt").read_text()
    assert "another process was killed or hangs" in (output / "log.txt").read_text()
    assert len(losses_of(output)) == 2
    cfg = tiny_cfg(data, output, **SMALL)
    train(cfg, resume=True)
    assert_near_end(output, undisturbed)


def test_restart_goes_on_and_ends_like_the_undisturbed_run(data, undisturbed, tmp_path):
    output = tmp_path / "out"
    ended = torchrun(data, output, "--max-restarts=1", program=FAILING, FAIL="1 3 error")
    assert ended.returncode == 0, ended.stdout
    assert "rank 1 of 2 failed: ValueError: the planted error" in ended.stdout
    assert_same_end(output, undisturbed)


def test_one_process_asked_to_stop_stops_all_and_they_go_on(data, undisturbed, tmp_path):
    output = tmp_path / "out"
    ended = torchrun(data, output, program=FAILING, FAIL="1 0 asked")
    assert ended.returncode != 0 and "exitcode  : 75" in ended.stdout
    assert "stopped by a signal to another process" in (output / "log.txt").read_text()
    assert (output / "checkpoint_00000002.pth").is_file()  # agreed on one iteration later
    assert torchrun(data, output, resume=True).returncode == 0
    assert_same_end(output, undisturbed)


def test_run_of_one_process_goes_on_with_two(data, undisturbed, tmp_path):
    output = tmp_path / "out"
    train(tiny_cfg(data, output, **SMALL))
    for name in ("checkpoint_00000004.pth", "model_final.pth", "results.json"):
        (output / name).unlink()
    ended = torchrun(data, output, resume=True)
    assert ended.returncode == 0, ended.stdout
    assert_near_end(output, undisturbed)
