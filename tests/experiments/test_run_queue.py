"""The queue of runs with a stand-in for train_net.py: nothing is done twice, nothing is lost."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_runs import PROJECT, write_fake_train

from wrimnet.console import open_log
from wrimnet.lab.experiments.run_queue import work_through_queue
from wrimnet.lab.experiments.runs import (
    Attempt,
    ExperimentRun,
    State,
    describe_changes,
    is_done,
    read_record,
)
from wrimnet.lab.experiments.slots import choose_gpus, make_slots, visible_gpus


@pytest.fixture(autouse=True)
def console():
    open_log()


def make_run(root, name, config="abc", **about):
    folder = root / name
    words = ("--config-file", "x.yml", "SEED", "0", "OUTPUT_DIR", str(folder))
    return ExperimentRun(name, folder, words, config, {"name": name, "config": config, **about})


def calls(run):
    path = run.folder / "calls.txt"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def work(runs, command, *, jobs=2, gpus=()):
    return work_through_queue(runs, command=command, slots=make_slots(gpus, jobs, 1))


def test_every_run_is_done_once_and_a_second_call_repeats_none(tmp_path):
    command = write_fake_train(tmp_path / "tool")
    runs = [make_run(tmp_path, name) for name in ("a/seed0", "b/seed0", "c/seed0")]
    assert work(runs, command) == []
    assert work(runs, command) == []
    assert [len(calls(run)) for run in runs] == [1, 1, 1]
    assert all(is_done(run) for run in runs)
    call = calls(runs[0])[0]
    assert (call["words"], call["threads"]) == (list(runs[0].arguments), "1")
    attempts = read_record(runs[0].folder)["attempts"]
    assert [attempt["exit_code"] for attempt in attempts] == [0]


def test_failing_run_is_survived_reported_and_tried_again(tmp_path, capsys):
    command = write_fake_train(tmp_path / "tool", fail=["/b"], silent=["/c"])
    runs = [make_run(tmp_path, name) for name in ("a", "b", "c", "d")]
    assert {state.run.name: (state.kind, state.reason) for state in work(runs, command)} == {
        "b": ("failed", "exit code 1: out of luck"),
        "c": ("failed", "ended without complete results"),
    }
    assert "out of luck" in (runs[1].folder / "console.log").read_text()
    assert "b failed: exit code 1: out of luck\n" in capsys.readouterr().out
    write_fake_train(tmp_path / "tool")
    assert work(runs, command) == []
    assert [len(calls(run)) for run in runs] == [1, 2, 2, 1]


def test_two_first_failures_alike_stop_the_others(tmp_path, capsys):
    command = write_fake_train(tmp_path / "tool", fail=["/a", "/b"])
    runs = [make_run(tmp_path, name) for name in ("a", "b", "c", "d")]
    assert [state.run.name for state in work(runs, command, jobs=1)] == ["a", "b"]
    assert "the first 2 runs failed for the same reason" in capsys.readouterr().out
    assert calls(runs[3]) == []
    write_fake_train(tmp_path / "tool", fail=["/c", "/d"])
    assert len(work(runs, command, jobs=1)) == 2  # after a success both are a run's own fault


def test_finished_run_keeps_its_newest_checkpoint(tmp_path):
    command = write_fake_train(tmp_path / "tool")
    run = make_run(tmp_path, "a")
    run.folder.mkdir()
    for number in (1, 2, 3):
        (run.folder / f"checkpoint_{number:08d}.pth").write_bytes(b"")
    assert work([run], command) == []
    assert [path.name for path in run.folder.glob("*.pth")] == ["checkpoint_00000003.pth"]


def wait_for(condition, seconds=300.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def start_queue(root: Path, command) -> subprocess.Popen:
    """A process that works through the runs a and b, one at a time."""
    folders = [
        str(PROJECT),
        *(str(PROJECT / name) for name in ("tests", "tests/experiments")),
    ]
    script = (
        "import sys\n"
        f"sys.path[:0] = {folders!r}\n"
        "from pathlib import Path\n"
        "from test_run_queue import make_run, work\n"
        f"root = Path({str(root)!r})\n"
        f"work([make_run(root, 'a'), make_run(root, 'b')], {command!r}, jobs=1)\n"
    )
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)


def test_killed_half_way_and_called_again_repeats_no_finished_run(tmp_path):
    command = write_fake_train(tmp_path / "tool", hang=["/b"])
    first, second = make_run(tmp_path, "a"), make_run(tmp_path, "b")
    process = start_queue(tmp_path, command)
    wait_for((second.folder / "checkpoint_00000001.pth").exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(300) != 0
    assert is_done(first)
    assert not is_done(second)
    write_fake_train(tmp_path / "tool")
    assert work([first, second], command) == []
    assert len(calls(first)) == 1
    assert ["--resume" in call["words"] for call in calls(second)] == [False, True]
    codes = [attempt["exit_code"] for attempt in read_record(second.folder)["attempts"]]
    assert codes == [-signal.SIGTERM, 0]


def test_folder_that_another_process_works_in_is_left_alone(tmp_path):
    """The process of a run keeps its folder's lock even if the queue above it was killed."""
    command = write_fake_train(tmp_path / "tool", hang=["/b"])
    run = make_run(tmp_path, "b")
    process = start_queue(tmp_path, command)
    wait_for((run.folder / "checkpoint_00000001.pth").exists)
    process.kill()
    process.wait()
    assert [state.kind for state in work([run], command)] == ["running elsewhere"]
    assert len(calls(run)) == 1
    with (run.folder / ".attempt.lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.kill(calls(run)[0]["pid"], signal.SIGKILL)


def test_results_of_other_settings_are_refused_before_anything_runs(tmp_path):
    command = write_fake_train(tmp_path / "tool")
    work([make_run(tmp_path, "a")], command)
    runs = [make_run(tmp_path, "b"), make_run(tmp_path, "a", config="def")]
    with pytest.raises(ValueError, match="results of configuration abc, this run has def"):
        work(runs, command)
    assert calls(runs[0]) == []


def plugin(sha256):
    return {"plugins": [{"module": "my_loss", "file": "/my/my_loss.py", "sha256": sha256}]}


def test_changed_plugin_trains_the_run_again_and_keeps_what_there_was(tmp_path):
    command = write_fake_train(tmp_path / "tool")
    first, second = (make_run(tmp_path, "a", **plugin(sha256)) for sha256 in ("1", "2"))
    assert work([first], command) == [] and is_done(first) and not is_done(second)
    assert describe_changes([first]) == []
    (message,) = describe_changes([second, make_run(tmp_path, "b", **plugin("2"))])
    assert message.startswith(
        "the source of plug-ins, /my/my_loss.py, was changed, added or removed: a is trained ag"
    )
    before = {path.name: path.read_bytes() for path in first.folder.glob("*.*")}
    assert work([second], command) == [] and is_done(second) and not is_done(first)
    assert [call["words"] for call in calls(second)] == [list(second.arguments)]  # no --resume
    kept = {path.name: path.read_bytes() for path in (second.folder / "replaced1").iterdir()}
    assert kept == {name: content for name, content in before.items() if name[0] != "."}
    assert work([first], command) == []
    assert sorted(path.name for path in first.folder.glob("replaced*")) == [
        "replaced1",
        "replaced2",
    ]


def test_run_that_another_source_has_begun_starts_anew(tmp_path):
    command = write_fake_train(tmp_path / "tool", fail=["/a"])
    work([make_run(tmp_path, "a", **plugin("1"))], command)
    (tmp_path / "a" / "checkpoint_00000001.pth").write_bytes(b"")
    write_fake_train(tmp_path / "tool")
    assert work([make_run(tmp_path, "a", **plugin("2"))], command) == []
    (call,) = calls(make_run(tmp_path, "a"))
    assert "--resume" not in call["words"]


def test_interrupted_move_is_found_and_finished_by_the_next_call(tmp_path):
    command = write_fake_train(tmp_path / "tool")
    first, second = (make_run(tmp_path, "a", **plugin(sha256)) for sha256 in ("1", "2"))
    work([first], command)
    (first.folder / "replaced1").mkdir()
    (first.folder / "run.json").rename(first.folder / "replaced1" / "run.json")
    assert not is_done(second) and work([second], command) == []
    assert (first.folder / "replaced2" / "results.json").is_file()


def test_plugin_that_changes_while_its_run_trains_is_told(tmp_path):
    command = write_fake_train(tmp_path / "tool", plugins=plugin("2")["plugins"])
    (state,) = work([make_run(tmp_path, "a", **plugin("1"))], command)
    assert state.reason.startswith("the source of plug-ins, /my/my_loss.py, changed meanwhile")


def test_half_written_results_are_not_done(tmp_path):
    run = make_run(tmp_path, "a")
    run.folder.mkdir()
    (run.folder / "results.json").write_text('{"description": {"config": "abc"}, "resul')
    assert not is_done(run)
    (run.folder / "results.json").write_text('{"description": {"config": "abc"}, "results": []}')
    assert not is_done(run)


def test_run_that_was_done_elsewhere_in_the_meantime_is_not_started(tmp_path):
    command = write_fake_train(tmp_path / "tool")
    run = make_run(tmp_path, "a")
    attempt = Attempt(run, command, {"OMP_NUM_THREADS": "1"})
    work([run], command)
    assert attempt() == State(run, "done")
    assert len(calls(run)) == 1


def test_training_that_a_signal_stopped_after_saving_is_not_a_failure(tmp_path):
    command = write_fake_train(tmp_path / "tool", stop=["/a"])
    run = make_run(tmp_path, "a")
    assert [state.kind for state in work([run], command)] == ["stopped"]
    write_fake_train(tmp_path / "tool")
    assert work([run], command) == []


def test_run_is_bound_to_its_gpu(tmp_path):
    command = write_fake_train(tmp_path / "tool")
    run = make_run(tmp_path, "a")
    work([run], command, gpus=["7"])
    assert calls(run)[0]["gpu"] == "7"


def test_gpus_are_shared_in_turn_and_cores_divided():
    slots = make_slots(["0", "3"], 3, None, cores=12)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["0", "3", "0"]
    assert {slot.environment["OMP_NUM_THREADS"] for slot in slots} == {"4"}
    assert [slot.name for slot in make_slots([], None, None, cores=2)] == ["cpu:0"]
    assert len(make_slots(["0", "1"], None, 1)) == 2


@pytest.mark.parametrize(("jobs", "threads"), [(0, 1), (1, 0)])
def test_no_room_for_a_run_is_refused(jobs, threads):
    with pytest.raises(ValueError, match=r"--(jobs|threads) 0: expected at least 1"):
        make_slots([], jobs, threads)


def test_gpus_are_named_as_the_environment_names_them(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert choose_gpus(None, 2) == visible_gpus(2) == ["2", "5"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_gpus(2) == ["0", "1"]
    assert visible_gpus(0) == []


def test_gpus_that_are_not_there_are_refused(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert choose_gpus(["1", "MIG-a"], 2) == ["1", "MIG-a"]
    assert choose_gpus([], 0) == []
    with pytest.raises(ValueError, match="--gpus 0 3: PyTorch sees 0, 1 here"):
        choose_gpus(["0", "3"], 2)
    with pytest.raises(ValueError, match="--gpus 3: PyTorch sees no GPU here"):
        choose_gpus(["3"], 0)


def test_what_happens_is_told_line_by_line(tmp_path, capsys):
    command = write_fake_train(tmp_path / "tool")
    runs = [make_run(tmp_path, "a"), make_run(tmp_path, "b")]
    work(runs[:1], command, jobs=1)
    capsys.readouterr()
    work(runs, command, jobs=1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["2 runs, 1 of them done already, 1 at a time", "b starts on cpu:0"]
    assert lines[2].startswith("b done in 0:00:0")
